/** What follows from a container's settings, for both the loader and the core. */
import type { ContainerSettings } from "./schema.ts";

/** cpu.max as CPUs; Infinity without a quota. */
export const cpuLimit = (container: ContainerSettings | undefined): number => {
  const cpu = container?.cpu;
  return cpu === undefined ? Number.POSITIVE_INFINITY : (cpu.limit ?? (cpu.quota ?? 0) / cpu.period);
};
