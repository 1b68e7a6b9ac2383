import { expect, test } from "vitest";
import { KindTable } from "../../src/runtime/kinds.ts";
import { SpanTable } from "../../src/runtime/mspan.ts";
import { MAX_OBJECT_BYTES } from "../../src/runtime/sizeclasses.ts";
import { rulesFor } from "../../src/runtime/version.ts";
import type { Dist } from "../../src/scenario/schema.ts";
import { RandomStreams } from "../../src/sim/rng.ts";
import { compileDist } from "../../src/workload/distributions.ts";
import { KindSampler } from "../../src/workload/objects.ts";

test.each<[string, Dist]>([
  ["one size", { kind: "constant", value: 64 }],
  ["tiny sizes", { kind: "uniform", min: 1, max: 15 }],
  ["sizes up to large objects", { kind: "lognormal", median: 900, sigma: 2 }],
  ["sizes beyond 32 bits", { kind: "uniform", min: 2 ** 32 + 1, max: 2 ** 32 + 5e8 }],
  [
    "a mixture",
    {
      kind: "mixture",
      parts: [
        { weight: 3, dist: { kind: "exponential", mean: 200 } },
        { weight: 1, dist: { kind: "uniform", min: 2000, max: 90_000 } },
      ],
    },
  ],
])("kinds of %s, in blocks and one by one, are those of the sizes drawn", (_, size) => {
  const n = 5000;
  const kinds = new KindTable(rulesFor("1.26"));
  const sampler = new KindSampler(kinds, 0, size, { kind: "fraction", fraction: 0.5 });
  const single = new RandomStreams(3).stream("a");
  const block = new RandomStreams(3).stream("a");
  const sizes = compileDist(size);
  const expected = Int32Array.from({ length: n }, () => sampler.classOf(sizes.sample(single)));
  const out = new Int32Array(n);
  const fresh = new KindSampler(kinds, 0, size, { kind: "fraction", fraction: 0.5 });
  fresh.fill(block, out, n);
  expect(out).toEqual(expected);
  expect(block.u32()).toBe(single.u32());
  // What is known of the cells by now is used.
  const again = Int32Array.from({ length: n }, () => sampler.classOf(sizes.sample(single)));
  expect(Int32Array.from({ length: n / 2 }, () => fresh.draw(block))).toEqual(again.subarray(0, n / 2));
  fresh.fill(block, out, n / 2);
  expect(out.subarray(0, n / 2)).toEqual(again.subarray(n / 2));
});

test("a draw beyond the largest object is that one, which the heap can hold", () => {
  const kinds = new KindTable(rulesFor("1.26"));
  const size: Dist = { kind: "lognormal", median: 2 ** 40, sigma: 1 };
  const sampler = new KindSampler(kinds, 0, size, { kind: "fraction", fraction: 0.5 });
  const out = new Int32Array(100);
  sampler.fill(new RandomStreams(3).stream("a"), out, 100);
  expect(new Set(Array.from(out, (kind) => kinds.size[kind]))).toEqual(new Set([MAX_OBJECT_BYTES]));
  const spans = new SpanTable();
  const s = spans.alloc();
  spans.setElemsize(s, MAX_OBJECT_BYTES);
  expect(spans.elemsizeOf(s)).toBe(MAX_OBJECT_BYTES);
});
