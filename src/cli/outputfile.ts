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

/** Makes the folders in which these files lie. */
export function makeFolders(place: Place, names: readonly string[]): void {
  for (const folder of new Set(names.map((name) => dirname(name)))) {
    if (folder === ".") continue;
    try {
      mkdirSync(join(place.folder, folder), { recursive: true });
    } catch (error) {
      throw cannotWrite(join(place.label, folder), error);
    }
  }
}

/** A folder in which `name` lies is there. */
export function writeWhole(place: Place, name: string, content: string | Uint8Array): void {
  try {
    writeFileSync(join(place.folder, name), content);
  } catch (error) {
    throw cannotWrite(join(place.label, name), error);
  }
}
