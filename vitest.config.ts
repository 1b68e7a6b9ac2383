import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/temporary.ts",
    testTimeout: 120_000,
    // What is run before the tests is a run, too, and no shorter on a busy machine.
    hookTimeout: 120_000,
    benchmark: { include: ["test/bench/**/*.bench.ts"] },
  },
});
