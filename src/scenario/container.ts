/** What follows from a container's settings, for both the loader and the core. */
import type { ContainerSettings } from "./schema.ts";

/** cpu.max as CPUs; Infinity without a quota. */
export const cpuLimit = (container: ContainerSettings | undefined): number => {
  const cpu = container?.cpu;
  return cpu === undefined ? Number.POSITIVE_INFINITY : (cpu.limit ?? (cpu.quota ?? 0) / cpu.period);
};

/**
 * Go's own default (defaultGOMAXPROCS in cgroup_linux.go): the CPUs and, from 1.25 on (`follows`), no more than the limit allows on average,
 * rounded up and never below 2.
 */
export const defaultGOMAXPROCS = (cpus: number, limit: number, follows: boolean): number =>
  follows ? Math.min(cpus, Math.max(2, Math.ceil(limit))) : cpus;
