/** A released output as it stands in a JSON answer; `encoding` is null when there is none (withheld, or too old to be kept). */
export type ReadableOutput =
  | { readonly body: unknown; readonly encoding: 'json' }
  | { readonly body: string; readonly encoding: 'text' | 'base64' }
  | { readonly body: null; readonly encoding: null }

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** JSON if it is JSON, else text if it is text, else base64. */
export function readableOutput(bytes: Uint8Array): ReadableOutput {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    return { body: Buffer.from(bytes).toString('base64'), encoding: 'base64' }
  }
  try {
    return { body: JSON.parse(text) as unknown, encoding: 'json' }
  } catch {
    return { body: text, encoding: 'text' }
  }
}
