/** A scenario among its variants. Apart from the schema, which few who name runs need. */
import type { Scenario } from "./schema.ts";

/** The name of the scenario itself among its variants. */
export const BASE_VARIANT = "base";

/** How progress, messages and traces call a run. */
export const runName = ({ name, variant }: Pick<Scenario, "name" | "variant">): string =>
  variant === BASE_VARIANT ? name : `${name}/${variant}`;
