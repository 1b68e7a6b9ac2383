/** VmSize without the mappings it is the sum of. */
import { expect, test } from "vitest";
import { SimulatedRun } from "../../src/simulate.ts";
import { scenarioOf } from "../scenarios.ts";

const SETTINGS = [
  "",
  "machine: { page_size: 64KiB }",
  'go: { version: "1.24", GODEBUG: { memprofilerate: 1 } }',
  "machine: { thp: always }\ncontainer: { memory: { max: 512MiB } }",
];

test.each(SETTINGS)("VmSize by itself is the sum of the mappings: %j", (settings) => {
  const run = new SimulatedRun(
    scenarioOf(`name: sized
duration: 3s
${settings}
workload:
  - { kind: leak, name: grows, byte_rate: 40MiB/s, size: { uniform: [1000, 9000] } }
`),
  );
  const sizes = new Set<number>();
  for (let at = 0; at <= 3e9; at += 0.3e9) {
    run.advance(at);
    const view = run.view()!;
    expect(view.vmSizeBytes()).toBe(view.addressSpace().vm_size_bytes);
    sizes.add(view.vmSizeBytes());
  }
  expect(sizes.size).toBeGreaterThan(1);
});
