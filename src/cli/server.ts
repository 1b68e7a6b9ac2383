/**
 * The simulated process's HTTP server: what a Go service with net/http/pprof, expvar and promhttp answers, and `/control`.
 *
 * It serves no files and knows its few paths by heart. On loopback, where anybody on the machine may read and steer, requests must name
 * a loopback host (else a web page could reach it by a name of its own that leads here: DNS rebinding) and must not come from
 * another site's page (Origin, Sec-Fetch-Site). `/control` takes JSON only, which no page can send elsewhere without being asked first.
 * Elsewhere `/control` needs a bearer token. Sizes, times and connections are limited.
 */
import { timingSafeEqual } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIP, isIPv6 } from "node:net";
import { devNull } from "node:os";
import { gzipSync } from "node:zlib";
import * as z from "zod";
import { expvarJson } from "../report/memstats.ts";
import { goroutineProfileText, heapProfile } from "../report/pprof.ts";
import {
  CLASSIC_CONTENT_TYPE,
  classicText,
  GrowingFamilies,
  OPEN_METRICS_CONTENT_TYPE,
  openMetricsText,
} from "../report/prometheus.ts";
import { xmlText } from "../report/svgplot.ts";
import { action } from "../scenario/actions.ts";
import { resizeFaults } from "../scenario/checks.ts";
import { faultsOf } from "../scenario/issues.ts";
import type { ScenarioPlaces } from "../scenario/places.ts";
import type { ContainerLimits } from "../scenario/schema.ts";
import type { ProcessView } from "../simulate.ts";
import { complain } from "./console.ts";
import { CliError, EXIT, errorCode, reasonOf } from "./exit.ts";
import type { Player } from "./player.ts";

const MAX_BODY_BYTES = 4096;
const MAX_HEADER_BYTES = 8192;
const MAX_CONNECTIONS = 128;
const HEADERS_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 10_000;
/** A client that reads nothing of its answer for so long keeps its connection from others. */
const IDLE_TIMEOUT_MS = 30_000;
/** Descriptors that are not for connections. */
const SPARE_DESCRIPTORS = 16;
/** Between two complaints about connections that had to be refused. */
const COMPLAINT_INTERVAL_MS = 60_000;
const MAX_FOLLOWERS = 16;
/** What a follower may be behind, and for how long, before it is dropped. */
const MAX_FOLLOWER_BYTES = 1 << 20;
const MAX_FOLLOWER_MS = 30_000;
/** A follower that hung up without a word is asked after so long whether it is still there. */
const FOLLOWER_KEEP_ALIVE_MS = 30_000;
/** gctrace lines a new follower is shown of the past. */
const TRACE_LINES = 256;

export const MAX_SPEED = 1e6;

/** What can be posted to /control. */
const control = z.discriminatedUnion("do", [
  z.strictObject({ do: z.enum(["pause", "resume"]) }),
  z.strictObject({ do: z.literal("set_speed"), to: z.number().positive().max(MAX_SPEED) }),
  ...action.options,
]);

const CONTROL_HELP = `{"do": "pause"} or "resume"; {"do": "set_speed", "to": 10}; {"do": "set_gc_percent", "to": 50} or "off"; {"do": "set_memory_limit", "to": "512MiB"} or "off"; {"do": "set_gomaxprocs", "to": 4}; {"do": "set_traffic", "to": 2}; {"do": "phase", "to": NAME}; {"do": "resize_container", "memory_max": "512MiB"}, "memory_high" or "cpu_limit"; {"do": "set_neighbours", "anon": "2GiB", "over": "5s"} or "reads"; {"do": "gc"} or "free_os_memory"`;

/** An answer that is no success. */
class HttpError extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** 127.0.0.0/8, ::1 and localhost. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** HOST:PORT, [IPV6]:PORT or :PORT (every address), as Go's net.Listen takes it. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, six, other, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535 || (six !== undefined && !isIPv6(six))) return undefined;
  const host = six ?? other;
  return { host: host === "" ? "::" : host, port };
}

export function urlOf({ host, port }: ListenAddress): string {
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** How many descriptors can be had, of so many. Who runs out of them is not told: connections are closed as they come (libuv). */
function freeDescriptors(most: number): number {
  const taken: number[] = [];
  try {
    while (taken.length < most) taken.push(openSync(devNull, "r"));
  } catch (error) {
    if (errorCode(error) !== "EMFILE" && errorCode(error) !== "ENFILE") throw error;
  }
  for (const fd of taken) closeSync(fd);
  return taken.length;
}

/** A Host header without its port. */
function hostOf(header: string): string {
  return header
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
}

export interface ServerOptions {
  readonly player: Player;
  readonly places: ScenarioPlaces;
  readonly listen: ListenAddress;
  /** Needed for /control where one is set. */
  readonly token: string | undefined;
}

type Answer = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => void | Promise<void>;

interface Route {
  readonly about: string;
  readonly GET?: Answer;
  readonly POST?: Answer;
}

export class ProcessServer {
  readonly #player: Player;
  readonly #places: ScenarioPlaces;
  readonly #loopback: boolean;
  readonly #token: string | undefined;
  readonly #listen: ListenAddress;
  readonly #server: Server;
  readonly #families = new GrowingFamilies();
  /** Since when each has something it has not read; undefined: it has read all. */
  readonly #followers = new Map<ServerResponse, number | undefined>();
  #complainedMs = Number.NEGATIVE_INFINITY;
  readonly #trace: string[] = [];
  readonly #routes: Readonly<Record<string, Route>> = {
    "/": { about: "this page", GET: (_, response) => this.#index(response) },
    "/metrics": {
      about: "Prometheus metrics, in OpenMetrics for who accepts it",
      GET: (request, response) => this.#metrics(request, response),
    },
    "/debug/vars": {
      about: "expvar: MemStats",
      GET: (_, response) =>
        send(
          response,
          "application/json; charset=utf-8",
          expvarJson(this.#process(), this.#player.runStartUnixSeconds),
        ),
    },
    "/debug/pprof/heap": {
      about: "heap profile, for go tool pprof",
      GET: (_, response) => {
        response.setHeader("Content-Disposition", 'attachment; filename="heap"');
        const profile = heapProfile(this.#process(), this.#places, this.#player.runStartUnixSeconds);
        send(response, "application/octet-stream", gzipSync(profile));
      },
    },
    "/debug/pprof/goroutine": {
      about: "goroutine profile, with ?debug=1",
      GET: (_, response, query) => {
        if (query.get("debug") !== "1")
          throw new HttpError(400, "only as text: /debug/pprof/goroutine?debug=1");
        send(response, "text/plain; charset=utf-8", goroutineProfileText(this.#process(), this.#places));
      },
    },
    "/debug/gctrace": {
      about: "gctrace, line by line as it goes on",
      GET: (request, response) => this.#follow(request, response),
    },
    "/healthz": { about: "503 while the process is down", GET: (_, response) => this.#health(response) },
    "/control": {
      about: `state; POST ${CONTROL_HELP}`,
      GET: (request, response) => {
        this.#authorize(request);
        sendJson(response, this.#player.state());
      },
      POST: (request, response) => this.#control(request, response),
    },
  };

  constructor({ player, places, listen, token }: ServerOptions) {
    this.#player = player;
    this.#places = places;
    this.#listen = listen;
    this.#loopback = isLoopback(listen.host);
    this.#token = token;
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: 1000,
        keepAliveTimeout: HEADERS_TIMEOUT_MS,
      },
      (request, response) => void this.#answer(request, response),
    );
    this.#server.timeout = IDLE_TIMEOUT_MS;
    this.#server.on("drop", () =>
      this.#complain(`${this.#server.maxConnections} connections are open: more are refused until some end`),
    );
  }

  /** The same may happen a thousand times a second. */
  #complain(what: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#complainedMs < COMPLAINT_INTERVAL_MS) return;
    this.#complainedMs = nowMs;
    complain(`gomemsim: ${what}`);
  }

  /** Listens, and says where: with port 0 that is known only then. */
  async listen(): Promise<ListenAddress> {
    const { host, port } = this.#listen;
    const room = Math.min(
      MAX_CONNECTIONS,
      freeDescriptors(MAX_CONNECTIONS + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS,
    );
    if (room < 1) throw new CliError(EXIT.usage, "too many open files: raise the limit (ulimit -n)");
    if (room < MAX_CONNECTIONS)
      complain(`gomemsim: open files are limited: ${room} connections at a time (ulimit -n)`);
    this.#server.maxConnections = room;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        // A connection that could not be taken; those there are go on.
        this.#server.on("error", (error) => this.#complain(`a connection was lost: ${reasonOf(error)}`));
        const address = this.#server.address();
        resolve({ host, port: typeof address === "object" && address !== null ? address.port : port });
      });
    });
  }

  /** Answers no more, lets answers under way end for a moment, and cuts what is left. */
  close(): Promise<void> {
    for (const response of this.#followers.keys()) response.end();
    return new Promise((resolve) => {
      const cut = setTimeout(() => this.#server.closeAllConnections(), 500);
      this.#server.close(() => {
        clearTimeout(cut);
        resolve();
      });
      this.#server.closeIdleConnections();
    });
  }

  /** A line of gctrace, to be kept for those to come and sent to those who follow. */
  trace(line: string): void {
    this.#trace.push(line);
    if (this.#trace.length > TRACE_LINES) this.#trace.shift();
    const nowMs = performance.now();
    for (const [response, since] of this.#followers) {
      const behindMs = response.writableLength === 0 ? undefined : (since ?? nowMs);
      this.#followers.set(response, behindMs);
      if (response.writableLength > MAX_FOLLOWER_BYTES || nowMs - (behindMs ?? nowMs) > MAX_FOLLOWER_MS)
        response.destroy();
      else response.write(`${line}\n`);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("X-Content-Type-Options", "nosniff");
    response.setHeader("Cache-Control", "no-store");
    try {
      this.#refuseOtherSites(request);
      const { route, query } = this.#route(request);
      const method = request.method === "HEAD" ? "GET" : request.method;
      const answer = method === "GET" || method === "POST" ? route[method] : undefined;
      if (answer === undefined) {
        const allowed = ["GET", "HEAD", "POST"].filter((name) => route[name === "POST" ? "POST" : "GET"]);
        throw new HttpError(405, `${request.method} is not for this path`, { Allow: allowed.join(", ") });
      }
      await answer(request, response, query);
    } catch (error) {
      fail(response, error);
    }
  }

  #route(request: IncomingMessage): { readonly route: Route; readonly query: URLSearchParams } {
    const target = request.url ?? "";
    const [path, query = ""] = target.split("?", 2);
    if (!Object.hasOwn(this.#routes, path))
      throw new HttpError(404, `nothing here; / lists what there is: ${Object.keys(this.#routes).join(" ")}`);
    return { route: this.#routes[path], query: new URLSearchParams(query) };
  }

  #refuseOtherSites({ headers, method }: IncomingMessage): void {
    const { host = "", origin, "sec-fetch-site": site, "sec-fetch-mode": mode } = headers;
    if (this.#loopback && !isLoopback(hostOf(host)))
      throw new HttpError(403, "this address is for this machine: ask for localhost or 127.0.0.1 (Host)");
    // A link that somebody follows is no harm: it only reads, and the page it was on does not see the answer.
    const follows = mode === "navigate" && method === "GET";
    const foreign = (site === "cross-site" || site === "same-site") && !follows;
    if (foreign || (origin !== undefined && origin !== `http://${host}`))
      throw new HttpError(403, "requests from pages of other sites are refused (Origin)");
  }

  #authorize({ headers }: IncomingMessage): void {
    if (this.#token === undefined) return;
    const given = Buffer.from(headers.authorization ?? "");
    const wanted = Buffer.from(`Bearer ${this.#token}`);
    if (given.length === wanted.length && timingSafeEqual(given, wanted)) return;
    throw new HttpError(401, "/control needs the token: Authorization: Bearer TOKEN", {
      "WWW-Authenticate": "Bearer",
    });
  }

  /** The process; where there is none, nobody answers in a real pod either. */
  #process(): ProcessView {
    const view = this.#player.view;
    if (view !== undefined) return view;
    throw new HttpError(503, `the process is ${this.#player.process}: it was killed, out of memory`);
  }

  #metrics({ headers }: IncomingMessage, response: ServerResponse): void {
    const families = this.#families.at(this.#process(), this.#player.runStartUnixSeconds);
    response.setHeader("Vary", "Accept");
    if (prefersOpenMetrics(headers.accept ?? ""))
      send(response, OPEN_METRICS_CONTENT_TYPE, openMetricsText(families));
    else send(response, CLASSIC_CONTENT_TYPE, classicText(families));
  }

  #health(response: ServerResponse): void {
    const { process } = this.#player;
    if (process !== "up") throw new HttpError(503, process);
    send(response, "text/plain; charset=utf-8", "ok\n");
  }

  #follow({ method }: IncomingMessage, response: ServerResponse): void {
    if (this.#followers.size >= MAX_FOLLOWERS) throw new HttpError(503, `${MAX_FOLLOWERS} follow already`);
    response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8" });
    if (method === "HEAD") {
      response.end();
      return;
    }
    // Between two collections may be any time.
    response.socket?.setTimeout(0);
    response.socket?.setKeepAlive(true, FOLLOWER_KEEP_ALIVE_MS);
    this.#followers.set(response, undefined);
    response.once("close", () => this.#followers.delete(response));
    response.on("error", () => this.#followers.delete(response));
    response.flushHeaders();
    for (const line of this.#trace) response.write(`${line}\n`);
  }

  async #control(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#authorize(request);
    const type = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
    if (type !== "application/json")
      throw new HttpError(415, "expected JSON: Content-Type: application/json");
    const given = json(await body(request));
    const parsed = control.safeParse(given, { reportInput: true });
    if (!parsed.success) {
      const faults = faultsOf(parsed.error, given, [], control).map(({ path, message, hint }) => {
        // What names its key needs no path to it.
        const at = path.filter((step) => !message.includes(`\`${step}\``)).map((step) => `${step}: `);
        return `${at.join("")}${message}${hint === undefined ? "" : `; ${hint}`}`;
      });
      throw new HttpError(400, `${faults.join("\n")}\nExpected one of ${CONTROL_HELP}`);
    }
    const player = this.#player;
    const wanted = parsed.data;
    switch (wanted.do) {
      case "pause":
      case "resume":
        player.paused = wanted.do === "pause";
        break;
      case "set_speed":
        player.speed = wanted.to;
        break;
      default:
        if (wanted.do === "resize_container") this.#checkResize(wanted);
        if (wanted.do === "set_neighbours" && !player.hasNeighbours)
          throw new HttpError(
            409,
            "there is nothing else on the machine: give the scenario `machine.neighbours`",
          );
        if (!player.act(wanted)) throw new HttpError(409, this.#whyNot(wanted));
    }
    sendJson(response, player.state());
  }

  /** Limits that a scenario could not have are none to be given by hand. */
  #checkResize(limits: ContainerLimits): void {
    const { container } = this.#player;
    if (container === undefined)
      throw new HttpError(409, "there is no container to resize: give the scenario a `container`");
    const faults = resizeFaults(limits, container.settings, container.maxBytes);
    if (faults.length === 0) return;
    const told = faults.map(({ path, message, hint }) =>
      hint === undefined ? `${path.join(".")}: ${message}` : `${path.join(".")}: ${message} (${hint})`,
    );
    throw new HttpError(409, told.join("; "));
  }

  #whyNot(wanted: z.output<typeof action>): string {
    const { scenario, ended, process } = this.#player;
    if (process === "killed") return "the process was killed and is not started again";
    if (ended) return "the run has ended; the process stays as it is";
    if (wanted.do !== "phase") return "the process is down; it will be started again";
    const names = scenario.phases.map(({ name }) => name);
    return `there is no phase "${wanted.to}"; the scenario has ${names.length === 0 ? "none" : names.join(", ")}`;
  }

  #index(response: ServerResponse): void {
    const { name, variant } = this.#player.scenario;
    const rows = Object.entries(this.#routes).map(([path, { about }]) => {
      const href = path === "/debug/pprof/goroutine" ? `${path}?debug=1` : path;
      return `<tr><td><a href="${href}">${href}</a></td><td>${xmlText(about)}</td></tr>`;
    });
    response.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    send(
      response,
      "text/html; charset=utf-8",
      `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${xmlText(name)} - gomemsim</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em}
td{padding:.2em 1em .2em 0;vertical-align:top}</style>
<h1>${xmlText(name)} <small>${xmlText(variant)}</small></h1>
<p>A simulated Go process. <code>go tool pprof</code>, Prometheus and curl talk to it as to a real one.</p>
<table>${rows.join("\n")}</table>
</html>
`,
    );
  }
}

/** Whether OpenMetrics is accepted, and the classic text is not preferred to it. */
export function prefersOpenMetrics(accept: string): boolean {
  const quality = new Map<string, number>();
  for (const part of accept.split(",")) {
    const [type, ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const q = parameters.find((text) => text.startsWith("q="));
    const value = q === undefined ? 1 : Number(q.slice(2));
    if (!(value >= 0)) continue;
    quality.set(type, Math.max(value, quality.get(type) ?? 0));
  }
  const openMetrics = quality.get("application/openmetrics-text") ?? 0;
  return openMetrics > 0 && openMetrics >= (quality.get("text/plain") ?? 0);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpError(400, `not JSON: ${error instanceof Error ? error.message : ""}`);
  }
}

async function body(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += (chunk as Buffer).length;
    if (length > MAX_BODY_BYTES)
      throw new HttpError(413, `at most ${MAX_BODY_BYTES} bytes`, { Connection: "close" });
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Node sends no body in answer to HEAD. */
function send(response: ServerResponse, type: string, content: string | Uint8Array): void {
  response.setHeader("Content-Type", type);
  response.setHeader("Content-Length", Buffer.byteLength(content));
  response.end(content);
}

function sendJson(response: ServerResponse, value: unknown): void {
  send(response, "application/json; charset=utf-8", `${JSON.stringify(value, null, 2)}\n`);
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const known = error instanceof HttpError;
  response.statusCode = known ? error.status : 500;
  if (known) for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  else process.stderr.write(`gomemsim: ${error instanceof Error ? error.stack : String(error)}\n`);
  send(response, "text/plain; charset=utf-8", `${known ? error.message : "a fault of gomemsim itself"}\n`);
}
