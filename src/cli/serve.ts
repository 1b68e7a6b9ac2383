/**
 * `gomemsim serve FILE`: a simulated process that Prometheus, go tool pprof and curl talk to as to a real one.
 *
 * Plays one run in scaled real time until a signal ends it. At the scenario's end the process stays as it is, or with --loop the
 * run begins anew.
 */
import type { CommandModule } from "yargs";
import { scenarioPlaces } from "../scenario/places.ts";
import { runName } from "../scenario/variant.ts";
import { print } from "./console.ts";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";
import { once, SCENARIO_OPTIONS, scenarioPositional, toList } from "./options.ts";
import { Player } from "./player.ts";
import { readProfile } from "./profile.ts";
import { pickVariant, readScenarioFile } from "./scenarios.ts";
import {
  isLoopback,
  type ListenAddress,
  MAX_SPEED,
  ProcessServer,
  parseListenAddress,
  urlOf,
} from "./server.ts";
import { abortOnSignals } from "./signals.ts";

interface ServeArguments {
  readonly file: string;
  readonly speed: string;
  readonly listen: string;
  readonly variant: string | undefined;
  readonly set: readonly string[];
  readonly seed: string | undefined;
  readonly profile: string | undefined;
  readonly loop: boolean;
}

/** A token may be guessed at for as long as the server runs. */
const MIN_TOKEN_CHARS = 16;

function speedOf(text: string): number {
  const speed = Number(/^(\d+(?:\.\d+)?)x?$/.exec(text)?.[1] ?? Number.NaN);
  if (speed > 0 && speed <= MAX_SPEED) return speed;
  throw new CliError(EXIT.usage, `--speed: expected how many times real time, such as 10x, got "${text}"`);
}

function listenOf(text: string): ListenAddress {
  const address = parseListenAddress(text);
  if (address !== undefined) return address;
  throw new CliError(
    EXIT.usage,
    `--listen: expected host:port such as 127.0.0.1:6060 or [::1]:6060, got "${text}"`,
  );
}

/** Where others can reach it, nobody steers without a token. */
function tokenFor({ host }: ListenAddress): string | undefined {
  const token = process.env["GOMEMSIM_TOKEN"] || undefined;
  if (token === undefined && isLoopback(host)) return undefined;
  if (token === undefined)
    throw new CliError(
      EXIT.usage,
      `--listen: others can reach ${host}: set GOMEMSIM_TOKEN, which /control then asks for, or listen on 127.0.0.1`,
    );
  if (token.length >= MIN_TOKEN_CHARS && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new CliError(EXIT.usage, `GOMEMSIM_TOKEN: expected at least ${MIN_TOKEN_CHARS} printable characters`);
}

async function listening(server: ProcessServer, wanted: string): Promise<ListenAddress> {
  try {
    return await server.listen();
  } catch (error) {
    if (error instanceof CliError) throw error;
    const reason =
      errorCode(error) === "EADDRINUSE"
        ? "another program listens there; choose another port (0 takes any that is free)"
        : reasonOf(error);
    throw new CliError(EXIT.usage, `--listen: ${wanted}: ${reason}`, { cause: error });
  }
}

async function serve(args: ServeArguments): Promise<void> {
  const { input, scenarios } = readScenarioFile(args.file, args.set, args.seed, true);
  const scenario = pickVariant(scenarios, args.variant);
  const speed = speedOf(args.speed);
  const listen = listenOf(args.listen);
  const token = tokenFor(listen);
  const abort = abortOnSignals("it serves no more");
  let fail: (error: unknown) => void = () => {};
  const over = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // It may fail while nobody waits for it yet.
  over.catch(() => {});
  abort.signal.addEventListener("abort", () => fail(abort.signal.reason), { once: true });
  const player = new Player({
    scenario,
    ...(args.profile === undefined ? {} : { profile: readProfile(args.profile) }),
    speed,
    loop: args.loop,
    onTrace: (line) => server.trace(line),
    onFault: (error) => fail(error),
  });
  const server = new ProcessServer({
    player,
    places: scenarioPlaces(input.text, input.label),
    listen,
    token,
  });
  try {
    const address = await listening(server, args.listen);
    player.start();
    await print(`${runName(scenario)} at ${speed}x: listening on ${urlOf(address)}\n`);
    await over;
  } finally {
    player.stop();
    await server.close();
    abort.release();
  }
}

export const serveCommand: CommandModule<object, ServeArguments> = {
  command: "serve <file>",
  describe: "Play a run in real time as a process to scrape, profile and steer over HTTP",
  builder: (yargs) =>
    scenarioPositional(yargs)
      .option("speed", {
        type: "string",
        nargs: 1,
        default: "1x",
        coerce: (value: unknown) => once("speed")(value) ?? "1x",
        describe: "Virtual time per real time",
      })
      .option("listen", {
        type: "string",
        nargs: 1,
        default: "127.0.0.1:6060",
        coerce: (value: unknown) => once("listen")(value) ?? "127.0.0.1:6060",
        describe: "Address; one that others can reach needs a token for /control in GOMEMSIM_TOKEN",
      })
      .option("variant", {
        type: "string",
        nargs: 1,
        coerce: once("variant"),
        describe: "Play this variant instead of the scenario itself",
      })
      .option("loop", {
        type: "boolean",
        default: false,
        describe: "Begin anew at the end; without it the process stays as it is",
      })
      .option("seed", { ...SCENARIO_OPTIONS.seed, coerce: once("seed") })
      .option("set", { ...SCENARIO_OPTIONS.set, coerce: toList("set") })
      .option("profile", {
        type: "string",
        nargs: 1,
        coerce: once("profile"),
        describe: "Machine profile (JSON, from `gomemsim calibrate`) instead of the shipped one",
      }),
  handler: serve,
};
