/** A file of a run: written into the folder that will take its final name when all of it is complete. */
import { closeSync, mkdirSync, openSync } from "node:fs";
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

  /** `name` may lie in a folder of its own, which is made. */
  constructor(place: Place, name: string) {
    const label = join(place.label, name);
    const path = join(place.folder, name);
    try {
      if (dirname(name) !== ".") mkdirSync(dirname(path), { recursive: true });
      this.#fd = openSync(path, "w");
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

export function writeWhole(place: Place, name: string, text: string): void {
  const file = new OutputFile(place, name);
  file.writer.write(text);
  file.close();
}
