/** Thresholds of figures, for `when` and for `thresholds`: spelled in the figure's unit. */
import type { Unit } from "../sim/units.ts";
import { type Report, shown } from "./faults.ts";
import { readBytes, readDurationNs } from "./units.ts";

/** To the figure's base unit; what is counted in seconds is spelled as a duration, too. */
export function readInUnit(value: unknown, unit: Unit, report: Report): number | undefined {
  switch (unit) {
    case "bytes":
      return readBytes(value, report);
    case "ns":
      return readDurationNs(value, report);
    case "seconds": {
      const ns = readDurationNs(value, report);
      return ns === undefined ? undefined : ns / 1e9;
    }
    case "fraction":
    case "percent": {
      const percent = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value) : null;
      if (percent !== null) return unit === "percent" ? Number(percent[1]) : Number(percent[1]) / 100;
      if (typeof value === "number" && Number.isFinite(value)) return value;
      report(`expected a share such as 0.1 or 10%, got ${shown(value)}`);
      return undefined;
    }
    case "count":
      if (typeof value === "number" && Number.isFinite(value)) return value;
      report(`expected a number, got ${shown(value)}`);
      return undefined;
  }
}
