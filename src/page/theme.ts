/** Colours for canvases, by theme: by day those of plots, by night lighter ones. Neighbours also differ in dashes or in being areas. */
import { AXIS, BAD, BLUE, GREEN, GREY, GRID, INK, MARK, ORANGE, PINK, RED, SKY } from "../report/palette.ts";

/** By day, by night. */
const COLORS = {
  blue: [BLUE, "#56a8e0"],
  sky: [SKY, "#8fd0f5"],
  green: [GREEN, "#2fc79b"],
  orange: [ORANGE, "#f0a92e"],
  red: [RED, "#ff7a3d"],
  pink: [PINK, "#e08fc0"],
  grey: [GREY, "#8b949e"],
  pale: ["#c3cad3", "#3d444d"],
  ink: [INK, "#e6edf3"],
  grid: [GRID, "#272d35"],
  axis: [AXIS, "#9aa4af"],
  // Over areas and lines: what is below shows through.
  band: ["rgba(110,84,148,0.26)", "rgba(190,170,230,0.28)"],
  sweep: ["rgba(110,84,148,0.1)", "rgba(190,170,230,0.11)"],
  stop: ["rgba(80,50,130,0.5)", "rgba(215,195,255,0.6)"],
  bad: [BAD, "#ff6b5e"],
  mark: [MARK, "#b694f5"],
} as const;

export type ColorName = keyof typeof COLORS;
type Theme = "light" | "dark";

/** Of runs laid over each other, in their order. */
export const RUN_COLORS: readonly ColorName[] = [
  "blue",
  "red",
  "green",
  "pink",
  "orange",
  "sky",
  "ink",
  "grey",
];
export const RUN_DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3], [10, 3, 2, 3]];

let theme: Theme = "light";
const listeners: (() => void)[] = [];

export const currentTheme = (): Theme => theme;
export const color = (name: ColorName): string => COLORS[name][theme === "light" ? 0 : 1];

/** Opaque, part way to the page's background: an area's fill, over which lower layers are painted. */
export function tint(name: ColorName): string {
  const background = theme === "light" ? [255, 255, 255] : [22, 27, 34];
  const [r, g, b] = [1, 3, 5].map((i) => Number.parseInt(color(name).slice(i, i + 2), 16));
  const mix = (c: number, i: number): number => Math.round(0.72 * c + 0.28 * background[i]);
  return `rgb(${mix(r, 0)},${mix(g, 1)},${mix(b, 2)})`;
}

/** A band around a line of that colour: lines and other bands show through. */
export const faint = (name: ColorName): string => `${color(name)}33`;

export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

function apply(next: Theme): void {
  theme = next;
  document.documentElement.dataset["theme"] = next;
  for (const listener of listeners) listener();
}

let toggled = false;

export function toggleTheme(): void {
  toggled = true;
  apply(theme === "light" ? "dark" : "light");
}

/** As the system has it, until it is toggled. */
export function startTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = (): void => {
    if (!toggled) apply(dark.matches ? "dark" : "light");
  };
  follow();
  dark.addEventListener("change", follow);
}
