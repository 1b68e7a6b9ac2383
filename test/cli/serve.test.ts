/** The served process and its real clients: fetch, raw sockets, Prometheus, go tool pprof; and the ways to misuse it. */
import { rmSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Player } from "../../src/cli/player.ts";
import { ProcessServer, parseListenAddress, prefersOpenMetrics, urlOf } from "../../src/cli/server.ts";
import { scenarioPlaces } from "../../src/scenario/places.ts";
import { client, describeWith, Prometheus, temporaryFolder } from "../clients.ts";
import { KILLED_POD, scenarioOf } from "../report/exported.ts";
import { GCTRACE_LINE } from "../report/gctrace-grammar.ts";
import { type Running, run, scratch, start, write } from "./cli.ts";

/** Small, so that it is quick to play, and longer than any test waits. */
const SERVED = `name: served
duration: 10h
sample_interval: 1s
workload:
  - kind: service
    name: api
    arrivals: { rate: 200/s }
    cpu: 100us
    objects: [{ name: rows, count: 50, size: 400, pointers: 50% }]
phases:
  - { at: 9h, name: rush, set: { workload.api.arrivals.rate: 800/s } }
variants:
  - { name: tight, set: { go.GOGC: 20 } }
`;

interface Served {
  readonly url: string;
  readonly running: Running;
}

const folder = scratch();

async function serve(
  text: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  openFiles?: number,
): Promise<Served> {
  write(folder, "s.yaml", text);
  const running = start(folder, ["serve", "s.yaml", "--listen", "127.0.0.1:0", ...args], env, openFiles);
  const url = await new Promise<string>((resolve, reject) => {
    running.child.stdout?.on("data", (chunk: string) => {
      const found = /listening on (http:\S+)\n/.exec(chunk);
      if (found !== null) resolve(found[1]);
    });
    void running.result.then(({ stderr }) => reject(new Error(stderr)));
  });
  return { url, running };
}

async function stop({ running }: Served, signal: NodeJS.Signals = "SIGTERM") {
  running.child.kill(signal);
  return running.result;
}

const post = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/control`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

const stateOf = async (url: string): Promise<Record<string, unknown>> =>
  (await (await fetch(`${url}/control`)).json()) as Record<string, unknown>;

async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const got = await what();
    if (got !== undefined) return got;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A request in our own bytes: its status and the rest. */
function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(Number(port), hostname, () => socket.end(text));
    socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

/** Follows gctrace until `lines` have come. */
function follow(url: string, lines: number): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/debug/gctrace`, (response) => {
      expect(response.headers["transfer-encoding"]).toBe("chunked");
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        const whole = text.split("\n").slice(0, -1);
        if (whole.length < lines) return;
        asked.destroy();
        resolve(whole);
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe("gomemsim serve", () => {
  let served: Served;
  let url = "";

  beforeAll(async () => {
    served = await serve(SERVED, ["--speed", "20x"]);
    ({ url } = served);
  });

  afterAll(() => stop(served));

  it("answers on each path as a Go process does", async () => {
    const texts: Record<string, string> = {};
    for (const [path, type] of [
      ["/", "text/html; charset=utf-8"],
      ["/metrics", "text/plain; version=0.0.4; charset=utf-8"],
      ["/debug/vars", "application/json; charset=utf-8"],
      ["/debug/pprof/heap", "application/octet-stream"],
      ["/debug/pprof/goroutine?debug=1", "text/plain; charset=utf-8"],
      ["/healthz", "text/plain; charset=utf-8"],
      ["/control", "application/json; charset=utf-8"],
    ]) {
      const response = await fetch(url + path);
      expect([path, response.status, response.headers.get("content-type")]).toEqual([path, 200, type]);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      texts[path] = await response.text();
      const head = await fetch(url + path, { method: "HEAD" });
      expect([head.status, await head.text()]).toEqual([200, ""]);
    }
    expect(texts["/"]).toContain('<a href="/debug/pprof/heap">');
    expect(JSON.parse(texts["/debug/vars"]).memstats.HeapSys).toBeGreaterThan(1e6);
    expect(texts["/debug/pprof/goroutine?debug=1"]).toMatch(/^goroutine profile: total \d+\n/);
    expect(texts["/metrics"]).toContain("\ngo_goroutines ");
    expect(texts["/healthz"]).toBe("ok\n");
    const open = await fetch(`${url}/metrics`, {
      headers: { Accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" },
    });
    expect(open.headers.get("content-type")).toMatch(/^application\/openmetrics-text; version=1\.0\.0/);
    expect((await open.text()).endsWith("# EOF\n")).toBe(true);
  });

  it("plays on, and says how far it is", async () => {
    const first = await stateOf(url);
    expect(first).toMatchObject({
      scenario: "served",
      state: "playing",
      speed: 20,
      process: "up",
      traffic: 1,
    });
    const later = await until(async () => {
      const state = await stateOf(url);
      return Number(state["virtual_seconds"]) > Number(first["virtual_seconds"]) + 1 ? state : undefined;
    });
    expect(Number(later["behind_seconds"])).toBeGreaterThanOrEqual(0);
  });

  it("pauses, steps aside, and resumes", async () => {
    const paused = (await (await post(url, { do: "pause" })).json()) as Record<string, unknown>;
    expect(paused["state"]).toBe("paused");
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await stateOf(url))["virtual_seconds"]).toBe(paused["virtual_seconds"]);
    // While it stands still two scrapes are the same.
    const scrape = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    expect(await scrape()).toBe(await scrape());
    expect(await (await post(url, { do: "resume" })).json()).toMatchObject({ state: "playing" });
    await until(async () =>
      (await stateOf(url))["virtual_seconds"] !== paused["virtual_seconds"] ? true : undefined,
    );
  });

  it("is steered: GOGC, limit, traffic, phases, collections, speed", async () => {
    for (const [body, expected] of [
      [{ do: "set_gc_percent", to: 40 }, { gc_percent: 40 }],
      [{ do: "set_gc_percent", to: "off" }, { gc_percent: "off" }],
      [{ do: "set_gc_percent", to: 100 }, { gc_percent: 100 }],
      [{ do: "set_memory_limit", to: "512MiB" }, { memory_limit_bytes: 512 << 20 }],
      [{ do: "set_memory_limit", to: "off" }, { memory_limit_bytes: "off" }],
      [{ do: "set_traffic", to: 2.5 }, { traffic: 2.5 }],
      [{ do: "phase", to: "rush" }, { phases: ["rush"] }],
      [{ do: "set_speed", to: 5 }, { speed: 5 }],
    ] as const) {
      const response = await post(url, body);
      expect([response.status, await response.json()]).toMatchObject([200, expected]);
    }
    const forced = async (): Promise<number> =>
      JSON.parse(await (await fetch(`${url}/debug/vars`)).text()).memstats.NumForcedGC;
    const before = await forced();
    expect((await post(url, { do: "gc" })).status).toBe(200);
    expect((await post(url, { do: "free_os_memory" })).status).toBe(200);
    await until(async () => ((await forced()) >= before + 2 ? true : undefined));
  });

  it("refuses what it cannot do, and says what it can", async () => {
    for (const [body, status, says] of [
      ["{", 400, "not JSON"],
      [{ do: "explode" }, 400, '{"do": "set_gc_percent", "to": 50}'],
      [{ do: "set_gc_percent" }, 400, "`to` is missing; "],
      [{ do: "set_speed", to: -1 }, 400, "to: "],
      [{ do: "set_memory_limit", to: "a lot" }, 400, "to: "],
      [{ do: "pause", why: "x" }, 400, "why"],
      [{ do: "phase", to: "lull" }, 409, 'no phase "lull"; the scenario has rush'],
      [`{"do": "pause"${" ".repeat(5000)}}`, 413, "at most 4096 bytes"],
    ] as const) {
      const response = await post(url, body);
      const text = await response.text();
      expect([response.status, text]).toEqual([status, expect.stringContaining(says)]);
    }
    const form = await fetch(`${url}/control`, {
      method: "POST",
      body: new URLSearchParams({ do: "pause" }),
    });
    expect(form.status).toBe(415);
    const plain = await fetch(`${url}/control`, { method: "POST", body: '{"do":"pause"}' });
    expect(plain.status).toBe(415);
    expect((await stateOf(url))["state"]).toBe("playing");
  });

  it("knows its paths and methods and nothing else", async () => {
    for (const path of ["/nothing", "/metrics/", "/debug/pprof/", "/__proto__", "/constructor"])
      expect([path, (await fetch(url + path)).status]).toEqual([path, 404]);
    for (const path of [
      "/../s.yaml",
      "/%2e%2e/s.yaml",
      "//s.yaml",
      "/..%2fs.yaml",
      "/debug/../../etc/passwd",
      "\\..\\s.yaml",
    ])
      expect([
        path,
        await raw(url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
      ]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 40[04] /)]);
    const wrong = await fetch(`${url}/metrics`, { method: "POST" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    const told = async (body: object): Promise<string> => {
      const response = await post(url, body);
      expect(response.status).toBe(400);
      const text = await response.text();
      expect(text).toContain("\nExpected one of ");
      return text.slice(0, text.indexOf("\nExpected one of "));
    };
    expect(await told({ do: "set_traffic", to: -1 })).toBe("to: must be at least 0, got -1");
    expect(await told({ do: "set_gc_percentt", to: 1 })).toMatch(
      /^do: expected `pause`.*, got "set_gc_percentt"; did you mean `set_gc_percent`\?$/,
    );
    expect(await told({ do: "set_speed", too: 2 })).toBe("unknown key `too`; did you mean `to`?");
    expect(await told({ to: 2 })).toMatch(/^`do` is missing; /);
    const control = await fetch(`${url}/control`, { method: "DELETE" });
    expect([control.status, control.headers.get("allow")]).toEqual([405, "GET, HEAD, POST"]);
    expect((await fetch(`${url}/debug/pprof/goroutine`)).status).toBe(400);
  });

  it("answers nobody who comes by another name, and no other site's page", async () => {
    const get = (headers: string): Promise<string> =>
      raw(url, `GET /control HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`);
    expect(await get("Host: evil.example\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await get("Host: localhost.evil.example:80\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await get("Host: 127.0.0.1.evil.example\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await get("")).toMatch(/^HTTP\/1\.1 400 /);
    expect(await get("Host: localhost:1234\r\n")).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get("Host: [::1]:1234\r\n")).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get("Host: localhost\r\nOrigin: http://evil.example\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await get("Host: localhost\r\nOrigin: null\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect(await get("Host: localhost\r\nOrigin: http://localhost\r\n")).toMatch(/^HTTP\/1\.1 200 /);
    expect(await get("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    expect((await post(url, { do: "pause" }, { Origin: "http://evil.example" })).status).toBe(403);
    expect((await post(url, { do: "pause" }, { "Sec-Fetch-Site": "same-site" })).status).toBe(403);
    expect((await stateOf(url))["state"]).toBe("playing");
  });

  it("limits what it reads", async () => {
    const long = await raw(url, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(10_000)}\r\n\r\n`);
    expect(long).toMatch(/^HTTP\/1\.1 431 /);
  });

  it("lets several follow gctrace; one that hangs up disturbs no other", async () => {
    await post(url, { do: "set_speed", to: 50 });
    const other = follow(url, 40);
    const first = await follow(url, 5);
    const lines = await other;
    for (const line of [...first, ...lines]) expect(line).toMatch(GCTRACE_LINE);
    const numbers = lines.map((line) => Number(line.split(" ")[1]));
    expect(numbers).toEqual(numbers.map((_, i) => numbers[0] + i));
  });
});

/** Opens so many connections, sends on each, and counts those the server ends. */
async function hold(
  url: string,
  count: number,
  text = "",
): Promise<{ readonly sockets: readonly Socket[]; readonly ended: Set<Socket> }> {
  const { hostname, port } = new URL(url);
  const ended = new Set<Socket>();
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => {});
      socket.on("close", () => ended.add(socket));
      await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
      socket.write(text);
      // Who does not read is not told of the end either.
      socket.resume();
      return socket;
    }),
  );
  return { sockets, ended };
}

const healthy = async (url: string): Promise<true | undefined> =>
  fetch(`${url}/healthz`, { headers: { Connection: "close" } }).then(
    ({ status }) => (status === 200 ? true : undefined),
    () => undefined,
  );

describe.skipIf(process.platform !== "linux")("a server that runs out", () => {
  it("of connections refuses more, says so once, cuts those that ask for nothing or never end asking, and serves on", async () => {
    const served = await serve(SERVED);
    const silent = await hold(served.url, 70);
    const slow = await hold(served.url, 70, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    // 12 were refused at once; the others have their time to send a head.
    await until(async () => (silent.ended.size + slow.ended.size >= 12 ? true : undefined));
    for (const socket of slow.sockets) socket.write("x");
    await until(async () => (silent.ended.size + slow.ended.size === 140 ? true : undefined));
    expect(await until(() => healthy(served.url))).toBe(true);
    const { status, stderr } = await stop(served);
    expect(stderr.match(/128 connections are open: more are refused/g)).toHaveLength(1);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(status).toBe(143);
  });

  it("of descriptors says at the start how few it can serve, and keeps to that", async () => {
    // Loading the program from its sources opens nearly a hundred files at once.
    const served = await serve(SERVED, [], {}, 130);
    const held = await hold(served.url, 130);
    await until(async () => (held.ended.size > 0 ? true : undefined));
    for (const socket of held.sockets) socket.destroy();
    expect(await until(() => healthy(served.url))).toBe(true);
    const { status, stderr } = await stop(served);
    const [, room] = /open files are limited: (\d+) connections at a time \(ulimit -n\)/.exec(stderr) ?? [];
    expect(Number(room)).toBeGreaterThan(0);
    expect(Number(room)).toBeLessThan(114);
    expect(stderr).toContain(`${room} connections are open: more are refused`);
    expect(status).toBe(143);
  });

  it("of descriptors while it runs serves those it has, and others when there is room again", async () => {
    const served = await serve(SERVED);
    const limit = (files: string): void => {
      const set = client("prlimit", ["--pid", String(served.running.child.pid), `--nofile=${files}`]);
      expect(set.status, set.stderr).toBe(0);
    };
    limit("24:");
    const held = await hold(served.url, 60);
    await until(async () => (held.ended.size > 0 ? true : undefined));
    for (const socket of held.sockets) socket.destroy();
    expect(await until(() => healthy(served.url))).toBe(true);
    const { status, stderr } = await stop(served);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(status).toBe(143);
  });
});

describe("followers of gctrace", () => {
  let server: ProcessServer;
  let url: string;

  beforeAll(async () => {
    const player = new Player({
      scenario: scenarioOf(SERVED),
      speed: 1,
      loop: false,
      onTrace: () => {},
      onFault: () => {},
    });
    server = new ProcessServer({
      player,
      places: scenarioPlaces(SERVED, "s.yaml"),
      listen: { host: "127.0.0.1", port: 0 },
      token: undefined,
    });
    url = urlOf(await server.listen());
  });

  afterAll(() => server.close());

  it("are sixteen at most, and one that reads nothing is dropped", async () => {
    const asking = "GET /debug/gctrace HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const stuck = await hold(url, 1, asking);
    stuck.sockets[0].pause();
    const others = await hold(url, 15, asking);
    const status = async (): Promise<number> => {
      const response = await fetch(`${url}/debug/gctrace`);
      await response.body?.cancel();
      return response.status;
    };
    await until(async () => ((await status()) === 503 ? true : undefined));
    // Far more than the kernel takes for a reader that does not read.
    for (let written = 0; written < 64 << 20; written += 1 << 18) {
      server.trace("x".repeat(1 << 18));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await until(async () => ((await status()) === 200 ? true : undefined))).toBe(true);
    expect(others.ended.size).toBe(0);
    for (const socket of [...stuck.sockets, ...others.sockets]) socket.destroy();
  });
});

describe("the end", () => {
  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("%s closes the server, followers and all, with its own status", async (signal, status) => {
    const served = await serve(SERVED, ["--speed", "20x", "--variant", "tight"]);
    expect(await stateOf(served.url)).toMatchObject({ variant: "tight", gc_percent: 20 });
    const following = fetch(`${served.url}/debug/gctrace`).then((response) => response.text());
    await until(async () => (Number((await stateOf(served.url))["virtual_seconds"]) > 0 ? true : undefined));
    const result = await stop(served, signal);
    expect(result.status).toBe(status);
    expect(result.stderr).toContain("it serves no more");
    for (const line of (await following).trimEnd().split("\n")) expect(line).toMatch(GCTRACE_LINE);
    await expect(fetch(served.url)).rejects.toThrow();
  });

  it("a run that is over leaves its process as it is", async () => {
    const served = await serve(SERVED.replace("10h", "1s").replace("9h", "500ms"), ["--speed", "100x"]);
    await until(async () => ((await stateOf(served.url))["state"] === "ended" ? true : undefined));
    expect(await stateOf(served.url)).toMatchObject({ virtual_seconds: 1, process: "up" });
    expect((await fetch(`${served.url}/metrics`)).status).toBe(200);
    expect((await fetch(`${served.url}/healthz`)).status).toBe(200);
    const late = await post(served.url, { do: "gc" });
    expect([late.status, await late.text()]).toEqual([
      409,
      "the run has ended; the process stays as it is\n",
    ]);
    await stop(served);
  });

  it("--loop begins again", async () => {
    const served = await serve(SERVED.replace("10h", "1s").replace("9h", "500ms"), [
      "--speed",
      "100x",
      "--loop",
    ]);
    const starts = new Set<number>();
    await until(async () => {
      const text = await (await fetch(`${served.url}/metrics`)).text();
      starts.add(Number(/^process_start_time_seconds (\S+)$/m.exec(text)?.[1]));
      return starts.size >= 3 ? true : undefined;
    });
    expect(Number((await stateOf(served.url))["round"])).toBeGreaterThanOrEqual(3);
    await stop(served);
  });

  it("a killed process is not healthy, and answers nothing else", async () => {
    const served = await serve(KILLED_POD, ["--speed", "100x"]);
    await until(async () => ((await stateOf(served.url))["process"] === "killed" ? true : undefined));
    for (const path of ["/healthz", "/metrics", "/debug/vars", "/debug/pprof/heap"])
      expect([path, (await fetch(served.url + path)).status]).toEqual([path, 503]);
    expect((await post(served.url, { do: "gc" })).status).toBe(409);
    await stop(served);
  });
});

describe("the command line", () => {
  it("is checked before anything listens", async () => {
    write(folder, "s.yaml", SERVED);
    for (const [args, says] of [
      [["--speed", "fast"], '--speed: expected how many times real time, such as 10x, got "fast"'],
      [["--speed", "0x"], "--speed"],
      [["--listen", "6060"], '--listen: expected host:port such as 127.0.0.1:6060 or [::1]:6060, got "6060"'],
      [["--listen", "127.0.0.1:66000"], "--listen: expected host:port"],
      [["--listen", "0.0.0.0:0"], "others can reach 0.0.0.0: set GOMEMSIM_TOKEN"],
      [["--listen", ":0"], "others can reach ::"],
      [["--variant", "none"], "has base, tight"],
    ] as const) {
      const { status, stderr } = await run(folder, ["serve", "s.yaml", ...args], {
        env: { GOMEMSIM_TOKEN: "" },
      });
      expect([args, status, stderr]).toEqual([args, 2, expect.stringContaining(says)]);
    }
    const weak = await run(folder, ["serve", "s.yaml", "--listen", "0.0.0.0:0"], {
      env: { GOMEMSIM_TOKEN: "1234" },
    });
    expect([weak.status, weak.stderr]).toEqual([2, expect.stringContaining("at least 16")]);
  });

  it("names the port that is in use", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    write(folder, "s.yaml", SERVED);
    const { status, stderr } = await run(folder, ["serve", "s.yaml", "--listen", `127.0.0.1:${port}`]);
    taken.close();
    expect([status, stderr]).toEqual([
      2,
      `gomemsim: --listen: 127.0.0.1:${port}: another program listens there; choose another port (0 takes any that is free)\n`,
    ]);
  });

  it("a token protects /control and nothing else", async () => {
    const token = "0123456789abcdef-x";
    const served = await serve(SERVED, [], { GOMEMSIM_TOKEN: token });
    expect((await fetch(`${served.url}/metrics`)).status).toBe(200);
    for (const authorization of ["", "Bearer", "Bearer wrong", `Basic ${token}`, `Bearer ${token}x`]) {
      const response = await fetch(`${served.url}/control`, { headers: { Authorization: authorization } });
      expect([authorization, response.status, response.headers.get("www-authenticate")]).toEqual([
        authorization,
        401,
        "Bearer",
      ]);
    }
    expect((await post(served.url, { do: "pause" })).status).toBe(401);
    const right = await post(served.url, { do: "pause" }, { Authorization: `Bearer ${token}` });
    expect(await right.json()).toMatchObject({ state: "paused" });
    await stop(served);
  });

  it("takes addresses as Go does, and weighs Accept headers", () => {
    expect(parseListenAddress("127.0.0.1:6060")).toEqual({ host: "127.0.0.1", port: 6060 });
    expect(parseListenAddress("[::1]:0")).toEqual({ host: "::1", port: 0 });
    expect(parseListenAddress(":80")).toEqual({ host: "::", port: 80 });
    expect(parseListenAddress("localhost")).toBeUndefined();
    expect(parseListenAddress("[12]:80")).toBeUndefined();
    expect(prefersOpenMetrics("")).toBe(false);
    expect(prefersOpenMetrics("*/*")).toBe(false);
    expect(
      prefersOpenMetrics(
        "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      ),
    ).toBe(true);
    expect(prefersOpenMetrics("application/openmetrics-text;q=0.2, text/plain;q=0.5")).toBe(false);
    expect(prefersOpenMetrics("application/openmetrics-text;q=0")).toBe(false);
  });
});

describe("a container's limits by hand", () => {
  it("are asked for in a scenario's words, and held to what a scenario's are", async () => {
    const served = await serve(`${SERVED}container: { memory: { max: 64MiB }, cpu: { limit: 1 } }
machine: { cpus: 8 }
`);
    try {
      const before = await stateOf(served.url);
      expect(before["memory_max_bytes"]).toBe(64 * 2 ** 20);
      expect(before["memory_high_bytes"]).toBe("max");
      const done = await post(served.url, {
        do: "resize_container",
        memory_max: "128MiB",
        memory_high: "96MiB",
        cpu_limit: 4,
      });
      expect(done.status).toBe(200);
      expect(await done.json()).toMatchObject({
        memory_max_bytes: 128 * 2 ** 20,
        memory_high_bytes: 96 * 2 ** 20,
        cpu_limit_cpus: 4,
      });
      const low = await post(served.url, { do: "resize_container", memory_max: "1KiB", memory_high: "2KiB" });
      expect(low.status).toBe(409);
      expect(await low.text()).toMatch(
        /^memory_max: 1 KiB cannot hold a Go process: .* it has \d+ KiB \(Go runtime .*; memory_high: is above `memory_max`/,
      );
      const none = await post(served.url, { do: "resize_container" });
      expect([none.status, await none.text()]).toEqual([
        400,
        expect.stringContaining("changes no limit: give `memory_max`, `memory_high` or `cpu_limit`"),
      ]);
    } finally {
      await stop(served);
    }
  });

  it("need a container", async () => {
    const served = await serve(SERVED);
    try {
      const refused = await post(served.url, { do: "resize_container", memory_max: "128MiB" });
      expect([refused.status, await refused.text()]).toEqual([
        409,
        "there is no container to resize: give the scenario a `container`\n",
      ]);
    } finally {
      await stop(served);
    }
  });
});

describe("what else is on the machine", () => {
  it("takes other memory by hand, which the container feels", async () => {
    const served = await serve(`${SERVED}container: { memory: { max: 256MiB } }
machine: { memory: 1GiB, neighbours: { anon: 16MiB } }
`);
    try {
      const done = await post(served.url, { do: "set_neighbours", anon: "700MiB", over: "10ms" });
      expect(done.status).toBe(200);
      const none = await post(served.url, { do: "set_neighbours" });
      expect([none.status, await none.text()]).toEqual([
        400,
        expect.stringContaining("changes nothing: give `anon` or `reads`"),
      ]);
      await until(async () => {
        const free = (await stateOf(served.url))["node_free_bytes"];
        return typeof free === "number" && free < 400 * 2 ** 20 ? true : undefined;
      });
    } finally {
      await stop(served);
    }
  });

  it("must be there", async () => {
    const served = await serve(`${SERVED}container: { memory: { max: 256MiB } }\n`);
    try {
      const refused = await post(served.url, { do: "set_neighbours", anon: "700MiB" });
      expect([refused.status, await refused.text()]).toEqual([
        409,
        "there is nothing else on the machine: give the scenario `machine.neighbours`\n",
      ]);
    } finally {
      await stop(served);
    }
  });
});

describeWith(["prometheus"], "a real Prometheus", () => {
  it("scrapes the process as a healthy target and knows its counters", async () => {
    const served = await serve(SERVED, ["--speed", "10x"]);
    const storage = temporaryFolder();
    const prometheus = await Prometheus.start(
      storage,
      `[{job_name: served, static_configs: [{targets: ["${new URL(served.url).host}"]}]}]`,
    );
    try {
      const targets = await until(async () => {
        const { activeTargets } = (await prometheus.get("targets")) as {
          activeTargets: readonly { health: string; lastError: string }[];
        };
        return activeTargets.length === 1 && activeTargets[0].health !== "unknown"
          ? activeTargets
          : undefined;
      });
      expect(targets[0]).toMatchObject({ health: "up", lastError: "" });
      const rate = await until(async () => {
        const [found] = await prometheus.query("rate(gomemsim_requests_completed_total[10s])");
        return found === undefined || Number(found.value[1]) === 0 ? undefined : found;
      });
      // 200 a second, ten times as fast; that the machine may be slower makes it less.
      expect(Number(rate.value[1])).toBeLessThan(2600);
      const [type] = Object.entries(
        (await prometheus.get("metadata", { metric: "go_memstats_mallocs" })) as Record<string, unknown>,
      );
      expect(type).toMatchObject(["go_memstats_mallocs", [{ type: "counter" }]]);
    } finally {
      await prometheus.stop();
      rmSync(storage, { recursive: true, force: true });
      await stop(served);
    }
  });
});

describeWith(["go"], "go tool pprof", () => {
  it("reads the heap profile from the running process", async () => {
    const served = await serve(SERVED, ["--speed", "20x"]);
    await until(async () => (Number((await stateOf(served.url))["virtual_seconds"]) > 3 ? true : undefined));
    const saved = temporaryFolder();
    const top = client("env", [
      `PPROF_TMPDIR=${saved}`,
      "go",
      "tool",
      "pprof",
      "-sample_index=alloc_space",
      "-top",
      `${served.url}/debug/pprof/heap`,
    ]);
    rmSync(saved, { recursive: true, force: true });
    expect(top.status).toBe(0);
    expect(top.stdout).toContain("main.(*api).rows");
    await stop(served);
  });
});
