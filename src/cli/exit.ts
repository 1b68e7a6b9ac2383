/**
 * The exit statuses: one per class of failure, so that a script can tell them apart. This table is the documentation
 * too: `--help` prints it.
 */

export const EXIT = {
  ok: 0,
  bug: 1,
  usage: 2,
  scenario: 3,
  input: 4,
  output: 5,
  go: 6,
  outOfBand: 7,
  memory: 8,
  thresholds: 99,
  hangup: 129,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

const MEANINGS: Record<keyof typeof EXIT, string> = {
  ok: "done",
  bug: "a fault of gomemsim itself; please report it",
  usage: "wrong command line",
  scenario: "the scenario (or machine profile) is not valid; every fault is listed",
  input: "an input file cannot be read",
  output: "output cannot be written (folder, full disk, closed pipe)",
  go: "Go is missing, or the real Go program could not be built or run",
  outOfBand: "validate: a metric lies outside the band of the real runs",
  memory: "not enough memory to simulate this scenario",
  thresholds: "run: a threshold of the scenario is breached (all files are written)",
  hangup: "hung up (SIGHUP); nothing half-written is left",
  interrupted: "interrupted (Ctrl-C); nothing half-written is left",
  terminated: "terminated (SIGTERM); nothing half-written is left",
};

export function exitStatusHelp(): string {
  const lines = (Object.keys(EXIT) as (keyof typeof EXIT)[]).map(
    (name) => `  ${String(EXIT[name]).padStart(3)}  ${MEANINGS[name]}`,
  );
  return `Exit statuses:\n${lines.join("\n")}`;
}

/** A failure that is not our fault: its message is for the user, and needs no stack trace. */
export class CliError extends Error {
  readonly status: ExitStatus;

  constructor(status: ExitStatus, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CliError";
    this.status = status;
  }
}

/** The system's error code ("ENOENT"), when the error has one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would exceed the size limit",
  EIO: "input/output error",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "it exists already",
  EISDIR: "it is a folder",
  ENOTEMPTY: "the folder is not empty",
  EMFILE: "too many open files",
  ENFILE: "too many open files on this system",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links",
  EXDEV: "it lies on another file system",
  EPIPE: "the reader closed the pipe",
  EBUSY: "it is in use",
  ETXTBSY: "it is in use",
};

/** Why a system call failed, in words. */
export function reasonOf(error: unknown): string {
  const code = errorCode(error);
  if (code !== undefined && code in REASONS) return REASONS[code];
  return error instanceof Error ? error.message : String(error);
}
