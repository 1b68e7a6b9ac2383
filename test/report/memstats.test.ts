import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expvarJson } from "../../src/report/memstats.ts";
import { classToSize } from "../../src/runtime/sizeclasses.ts";
import { SimulatedRun } from "../../src/simulate.ts";
import { client, describeWith, temporaryFolder } from "../clients.ts";
import { BARE, POD, scenarioOf, viewOf } from "./exported.ts";

describe("/debug/vars", () => {
  it("has Go's fields, and they agree with each other", () => {
    const view = viewOf(POD);
    const text = expvarJson(view, 1000);
    const { cmdline, memstats: m } = JSON.parse(text);
    expect(cmdline).toEqual(["/app/pod"]);
    expect(m.HeapSys).toBe(m.HeapInuse + m.HeapIdle);
    expect(m.HeapObjects).toBe(m.Mallocs - m.Frees);
    expect(m.Sys).toBe(
      m.HeapSys + m.StackSys + m.MSpanSys + m.MCacheSys + m.BuckHashSys + m.GCSys + m.OtherSys,
    );
    expect(m.BySize.length).toBe(61);
    m.BySize.forEach((c: { Size: number; Mallocs: number; Frees: number }, i: number) => {
      expect(c.Size).toBe(classToSize[i]);
      expect(c.Mallocs).toBeGreaterThanOrEqual(c.Frees);
    });
    expect(m.BySize[8].Mallocs).toBeGreaterThan(0);
    expect(m.NumForcedGC).toBe(2);
  });

  it("keeps 256 pauses, the newest at (NumGC+255)%256", () => {
    const cycles: { readonly pauseNs: number; readonly endNs: number }[] = [];
    const busy = `${BARE}go: { GOGC: 10 }\n`.replace("100k/s", "2M/s");
    const run = new SimulatedRun(scenarioOf(busy), {
      sink: { cycle: (c) => cycles.push({ pauseNs: c.stw1_ns + c.stw2_ns, endNs: 0 }) },
    });
    run.advance(4e9);
    expect(cycles.length).toBeGreaterThan(260);
    const { memstats: m } = JSON.parse(expvarJson(run.lastView(), 1000));
    expect(m.NumGC).toBe(cycles.length);
    for (let back = 0; back < 256; back++)
      expect(m.PauseNs[(m.NumGC + 255 - back) % 256]).toBe(
        Math.round(cycles[cycles.length - 1 - back].pauseNs),
      );
    expect(m.LastGC).toBe(m.PauseEnd[(m.NumGC + 255) % 256]);
    expect(m.LastGC).toBe(Math.max(...m.PauseEnd));
    expect(m.LastGC).toBeGreaterThan(1000e9);
    expect(m.LastGC).toBeLessThan(1004e9);
    expect(m.PauseTotalNs).toBeCloseTo(
      cycles.reduce((sum, c) => sum + c.pauseNs, 0),
      -3,
    );
  });
});

describeWith(["go"], "the real runtime.MemStats", () => {
  it("takes the text, field by field and to the digit, and writes it again the same", () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "go.mod"), "module reader\n\ngo 1.20\n");
    writeFileSync(
      join(folder, "main.go"),
      `package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

func main() {
	var vars struct {
		Cmdline  []string         \`json:"cmdline"\`
		Memstats runtime.MemStats \`json:"memstats"\`
	}
	d := json.NewDecoder(os.Stdin)
	d.DisallowUnknownFields()
	if err := d.Decode(&vars); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var out bytes.Buffer
	text, _ := json.Marshal(vars.Memstats)
	out.Write(text)
	fmt.Println(out.String())
}
`,
    );
    const text = expvarJson(viewOf(POD));
    const result = client("go", ["run", "-C", folder, "."], text);
    rmSync(folder, { recursive: true, force: true });
    expect(result.stderr).toBe("");
    expect(result.status).toBe(0);
    expect(text).toContain(`"memstats": ${result.stdout.trim()}\n`);
  });
});
