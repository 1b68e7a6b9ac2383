/**
 * The library: `import { simulate } from "gomemsim"`.
 *
 * `simulate` runs one resolved scenario; `loadScenario` makes resolved scenarios of a scenario file's text. Both are pure
 * (no files, no clock, no Node modules) and run unchanged in a browser.
 */
