import { expect, test } from "vitest";
import { headlinesOf } from "../../src/report/headlines.ts";

const groups = (...names: string[]): string[] => headlinesOf(names).map((group) => group.name);

test("a run that serves nothing has no group of services, though every run counts the requests in flight", () => {
  expect(groups("gc_count", "in_flight_mean", "in_flight_peak")).not.toContain("Service");
  expect(groups("gc_count", "in_flight_mean", "in_flight_peak", "api_requests")).toContain("Service");
});
