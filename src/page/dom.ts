/** Elements with text in them. Text only ever becomes text nodes: nothing here takes markup. */

export type Child = Node | string;

type Attributes = Readonly<Record<string, string | boolean>>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A table with a heading row; the first cell of each row names it. */
export const table = (
  caption: string,
  heads: readonly Child[],
  rows: readonly (readonly Child[])[],
): HTMLTableElement => groupedTable(caption, heads, [{ rows }]);

/** The same with its rows in groups, each under its name. */
export function groupedTable(
  caption: string,
  heads: readonly Child[],
  groups: readonly { readonly name?: string; readonly rows: readonly (readonly Child[])[] }[],
): HTMLTableElement {
  return el(
    "table",
    {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    ...groups.map(({ name, rows }) =>
      el(
        "tbody",
        {},
        ...(name === undefined
          ? []
          : [
              el(
                "tr",
                { class: "group" },
                el("th", { scope: "rowgroup" }, name),
                el("td", { colspan: String(heads.length - 1) }),
              ),
            ]),
        ...rows.map(([label, ...cells]) =>
          el("tr", {}, el("th", { scope: "row" }, label), ...cells.map((cell) => el("td", {}, cell))),
        ),
      ),
    ),
  );
}

/** A part of the page that can be folded. */
export function fold(title: string, open: boolean, ...children: readonly Child[]): HTMLDetailsElement {
  return el("details", { class: "fold", open }, el("summary", {}, title), ...children);
}
