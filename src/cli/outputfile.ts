/** A file of a run: written into the folder that will take its final name when all of it is complete. */
import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ChunkedWriter, cannotWrite } from "./outputs.ts";

/** Where a run's files go: an existing folder, and how messages call the place it will end up in. */
export interface Place {
  readonly folder: string;
  readonly label: string;
}

export class OutputFile {
  readonly #fd: number;
  readonly writer: ChunkedWriter;

  constructor(place: Place, name: string) {
    const label = join(place.label, name);
    try {
      this.#fd = openSync(join(place.folder, name), "w");
    } catch (error) {
      throw cannotWrite(label, error);
    }
    this.writer = new ChunkedWriter(this.#fd, label);
  }

  close(): void {
    this.writer.flush();
    closeSync(this.#fd);
  }
}

/** `name` may lie in a folder of its own, which is made. */
export function writeWhole(place: Place, name: string, content: string | Uint8Array): void {
  const path = join(place.folder, name);
  try {
    if (dirname(name) !== ".") mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  } catch (error) {
    throw cannotWrite(join(place.label, name), error);
  }
}
