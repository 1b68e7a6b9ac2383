/** What a gctrace=1 line of Go 1.26 looks like, as strictly as a regular expression can say it. */

/** A duration as gctrace can print it: nothing looser, so "0.1" or "10.0" would fail. */
const MS = String.raw`(?:0|0\.00[1-9]|0\.0[1-9]\d|0\.[1-9]\d|[1-9]\.\d|[1-9]\d+)`;
const NUMBER = String.raw`(?:0|[1-9]\d*)`;
export const GCTRACE_LINE = new RegExp(
  String.raw`^gc [1-9]\d* @${NUMBER}\.\d{3}s ${NUMBER}%: ${MS}\+${MS}\+${MS} ms clock, ` +
    String.raw`${MS}\+${MS}/${MS}/${MS}\+${MS} ms cpu, ${NUMBER}->${NUMBER}->${NUMBER} MB, ${NUMBER} MB goal, ` +
    String.raw`${NUMBER} MB stacks, ${NUMBER} MB globals, [1-9]\d* P(?: \(forced\))?$`,
);
