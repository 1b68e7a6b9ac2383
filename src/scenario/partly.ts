/**
 * What can be read of a value that has faults: all of it that its type accepts, down to single settings.
 *
 * For the checks that look at several settings, so that they are told together with the faults of the settings themselves.
 */
import * as z from "zod";
import { isMapping } from "./faults.ts";

/** Everything may be missing; a list's items keep their places. */
export type Partly<T> = T extends readonly (infer Item)[]
  ? readonly (Partly<Item> | undefined)[]
  : T extends object
    ? { readonly [Key in keyof T]?: Partly<T[Key]> | undefined }
    : T;

/** Below optional, default, prefault, transforms and laziness. */
export function core(type: z.core.$ZodType): z.core.$ZodType {
  let inner = type;
  for (;;) {
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
      inner = inner._zod.def.innerType;
    else if (inner instanceof z.ZodPipe) inner = inner._zod.def.in;
    else return inner;
  }
}

/** The option of a union that reads `value`. */
export function optionOf(union: z.ZodDiscriminatedUnion, value: unknown): z.ZodObject | undefined {
  const { discriminator } = union.def;
  const word = isMapping(value) ? value[discriminator] : undefined;
  for (const option of union.options)
    if (
      option instanceof z.ZodObject &&
      z.safeParse(option.shape[discriminator] as z.core.$ZodType, word).success
    )
      return option;
  return undefined;
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;

/** The keys of a mapping; of a union none of whose options it is, those that all of them have. */
function shapeOf(type: z.core.$ZodType, value: unknown): Shape | undefined {
  if (type instanceof z.ZodObject) return type.shape;
  if (!(type instanceof z.ZodDiscriminatedUnion)) return undefined;
  const option = optionOf(type, value);
  if (option !== undefined) return option.shape;
  const [first, ...others] = type.options.map((each) =>
    each instanceof z.ZodObject ? (each.shape as Shape) : {},
  );
  return Object.fromEntries(
    Object.entries(first).filter(([key]) => others.every((shape) => Object.hasOwn(shape, key))),
  );
}

/** Items of a list that are looked at. */
const MAX_ITEMS = 1000;

function read(type: z.core.$ZodType, value: unknown): unknown {
  const whole = z.safeParse(type, value);
  if (whole.success) return whole.data;
  const inner = core(type);
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    const { element } = inner._zod.def;
    return value.slice(0, MAX_ITEMS).map((item: unknown) => read(element, item));
  }
  const shape = shapeOf(inner, value);
  if (shape === undefined || !isMapping(value)) return undefined;
  return Object.fromEntries(Object.entries(shape).map(([key, of]) => [key, read(of, value[key])]));
}

export const partly = <T extends z.ZodType>(type: T, value: unknown): Partly<z.output<T>> | undefined =>
  read(type, value) as Partly<z.output<T>> | undefined;
