/**
 * oom.txt: each OOM kill as an incident report. The kernel's log as it would stand in dmesg, then the three clocks an operator has
 * to bring together: the kernel's, the collector's (gctrace counts from the start of its process) and that of the last statistics
 * scraped, each as time before the kill. What lies within 100 ms of it describes the process that died; what is older does not.
 */
import type { OomIncident } from "../simulate.ts";
import { humanBytes } from "./format.ts";
import { gctraceLine } from "./gctrace.ts";

/** Readings of different clocks count as one moment within this. */
const WINDOW_SECONDS = 0.1;

interface Reading {
  readonly clock: string;
  readonly atSeconds: number;
  readonly text: string;
}

function readings(incident: OomIncident, cpus: number): Reading[] {
  const { last_cycle: cycle, last_mem_stats: stats } = incident;
  const log = incident.kernel_log;
  return [
    {
      clock: "kernel log",
      atSeconds: incident.t_seconds,
      text: log[log.length - 1].replace(/^\[[^\]]*\] /, ""),
    },
    ...(cycle === undefined
      ? []
      : [
          {
            clock: "last gctrace",
            atSeconds: incident.last_cycle_end_seconds ?? cycle.start_seconds,
            text: gctraceLine(cycle, cpus, incident.process_start_seconds),
          },
        ]),
    ...(stats === undefined
      ? []
      : [
          {
            clock: "last MemStats",
            atSeconds: incident.last_mem_stats_seconds ?? 0,
            text:
              `HeapAlloc=${stats.heapAlloc} HeapInuse=${stats.heapInuse} HeapIdle=${stats.heapIdle} ` +
              `HeapReleased=${stats.heapReleased} NextGC=${stats.nextGC} StackInuse=${stats.stackInuse} Sys=${stats.sys}`,
          },
        ]),
  ];
}

function incidentText(incident: OomIncident, number: number, cpus: number): string {
  const { memory } = incident;
  const lived = incident.t_seconds - incident.process_start_seconds;
  const all = readings(incident, cpus);
  const ages = all.map((reading) => incident.t_seconds - reading.atSeconds);
  const inside = ages.filter((age) => age <= WINDOW_SECONDS).length;
  const again =
    incident.restart_at_seconds === undefined
      ? "not started again within the run"
      : `started again at ${incident.restart_at_seconds.toFixed(3)} s`;
  return [
    `OOM kill ${number} at ${incident.t_seconds.toFixed(6)} s, ${lived.toFixed(3)} s into the process's life; ${again}`,
    "",
    ...incident.kernel_log,
    "",
    `memory.current ${humanBytes(memory.current_bytes)} = anon ${humanBytes(memory.stat.anon)} + file ` +
      `${humanBytes(memory.stat.file)} + kernel ${humanBytes(memory.stat.kernel)}; badness ${incident.oom_badness_pages} pages, oom_score ${incident.oom_score}`,
    `RSS at its highest ${humanBytes(incident.rss_hwm_bytes)}`,
    `memory.events high ${memory.events.high} max ${memory.events.max} oom ${memory.events.oom} oom_kill ${memory.events.oom_kill}`,
    "",
    `Timeline (${inside} of ${all.length} clocks within ${WINDOW_SECONDS * 1000} ms of the kill)`,
    ...all.map(
      (reading, i) =>
        `  ${`-${(ages[i] * 1000).toFixed(1)} ms`.padStart(12)}  ${reading.clock.padEnd(13)}  ${reading.text}` +
        (ages[i] > WINDOW_SECONDS ? "  (older than the window)" : ""),
    ),
    "",
  ].join("\n");
}

export function oomText(incidents: readonly OomIncident[], cpus: number): string {
  return incidents.map((incident, i) => incidentText(incident, i + 1, cpus)).join("\n");
}
