/** What is counted of the heap in one way, counted in another. */
import { expect, test } from "vitest";
import { liveInSpan, slotIsLive } from "../../src/runtime/heapreport.ts";
import { flagOwned, SPAN_WORDS, spanInUse } from "../../src/runtime/records.ts";
import { SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const SCENARIO = `name: counted
duration: 3s
go: { GOMAXPROCS: 2, GOGC: 50 }
workload:
  - { kind: stream, name: plain, rate: 40k/s, size: { uniform: [16, 900] }, lifetime: { exponential: 100ms } }
  - { kind: stream, name: large, rate: 40/s, size: 60KiB, lifetime: 200ms }
  - kind: service
    name: owned
    arrivals: { rate: 800/s }
    cpu: 100us
    io: 20ms
    objects:
      - { count: 20, size: { uniform: [8, 300] } }
      - { count: 5, size: 64, lifetime: { exponential: 50ms } }
`;

test("the live objects of a span are its slots that are live, one by one", () => {
  const run = new SimulatedRun(scenarioOf(SCENARIO));
  /** By whether owners' objects are among a span's. */
  const seen = { plain: 0, owned: 0 };
  for (let at = 0; at < 3e9; at += 37e6) {
    run.advance(at);
    const { rt } = run.view()!;
    const { spans, slots, owners } = rt.heap;
    const tick = rt.deathTick(at);
    for (let s = 0; s < spans.end; s += SPAN_WORDS) {
      if (spans.state[s] !== spanInUse) continue;
      let live = 0;
      for (let i = spans.firstSlot[s]; i < spans.firstSlot[s] + spans.nelems[s]; i++)
        if (slotIsLive(slots.death[i], owners.death, spans.sweptTick[s], tick)) live++;
      if (live !== liveInSpan(rt.heap, s, tick))
        expect.fail(`span ${s} at ${at} ns: ${live} slots are live, counted ${liveInSpan(rt.heap, s, tick)}`);
      if (live > 0) seen[(spans.flags[s] & flagOwned) === 0 ? "plain" : "owned"]++;
    }
  }
  expect(seen.plain).toBeGreaterThan(1000);
  expect(seen.owned).toBeGreaterThan(1000);
});
