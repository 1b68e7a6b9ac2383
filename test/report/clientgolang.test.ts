/** Our families beside those of a real Go process with client_golang: names, types, labels, bucket bounds. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { metricFamilies, prometheusName } from "../../src/report/prometheus.ts";
import { NOT_MODELLED } from "../../src/report/runtimemetrics.ts";
import { client, describeWithModule, temporaryFolder } from "../clients.ts";
import { BARE, viewOf } from "./exported.ts";

const PROGRAM = `package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func main() {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	families, err := reg.Gather()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := map[string]any{}
	for _, f := range families {
		bounds := []string{}
		for _, b := range f.Metric[0].GetHistogram().GetBucket() {
			bounds = append(bounds, strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64))
		}
		for _, q := range f.Metric[0].GetSummary().GetQuantile() {
			bounds = append(bounds, strconv.FormatFloat(q.GetQuantile(), 'g', -1, 64))
		}
		labels := []string{}
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		out[f.GetName()] = map[string]any{"type": f.GetType().String(), "bounds": bounds, "labels": labels}
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
`;

interface Theirs {
  readonly type: string;
  readonly bounds: readonly string[];
  readonly labels: readonly string[];
}

describeWithModule("github.com/prometheus/client_golang@v1.25.0", () => {
  it("exposes the same families, of the same types, in the same buckets", () => {
    const folder = temporaryFolder();
    const require = "require github.com/prometheus/client_golang v1.25.0";
    writeFileSync(join(folder, "go.mod"), `module reader\n\ngo 1.26.0\n\n${require}\n`);
    writeFileSync(join(folder, "main.go"), PROGRAM);
    const result = client("env", ["GOFLAGS=-mod=mod", "go", "run", "-C", folder, "."]);
    rmSync(folder, { recursive: true, force: true });
    expect(result.stderr.replaceAll(/^go: .*\n/gm, "")).toBe("");
    const theirs = JSON.parse(result.stdout) as Record<string, Theirs>;
    const ours = metricFamilies(viewOf(BARE)).filter(({ name }) => /^(go|process)_/.test(name));
    for (const { name, type, series } of ours) {
      const { labels, samples } = series[0];
      const bounds = samples.flatMap((sample) =>
        sample.labels
          .filter(([label]) => label === "le" || label === "quantile")
          .map(([, value]) => Number(value.replace("+Inf", "Infinity"))),
      );
      // The +Inf bucket is written, not gathered.
      const finite = bounds.filter((bound) => bound !== Infinity);
      expect([name, theirs[name]?.type, theirs[name]?.labels, theirs[name]?.bounds.map(Number)]).toEqual([
        name,
        type.toUpperCase(),
        labels.map(([label]) => label),
        finite,
      ]);
    }
    const names = new Set(ours.map(({ name }) => name));
    const notModelled = Object.keys(NOT_MODELLED).flatMap((name) => [
      prometheusName(name, false),
      prometheusName(name, true),
    ]);
    const missing = Object.keys(theirs).filter(
      (name) => !names.has(name) && !notModelled.includes(name) && !name.startsWith("go_godebug_"),
    );
    expect(missing).toEqual([
      "process_max_fds",
      "process_network_receive_bytes_total",
      "process_network_transmit_bytes_total",
      "process_open_fds",
      "process_virtual_memory_max_bytes",
    ]);
  });
});
