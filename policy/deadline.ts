const shape = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/

/** An RFC 3339 time with a zone as milliseconds since 1970, or undefined. Leap seconds and days that do not exist are refused. */
export function parseDeadlineMs(text: string): number | undefined {
  const found = shape.exec(text)
  if (found === null) return undefined
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const milliseconds = Math.floor(Number(`0.${found[7] ?? '0'}`) * 1000)
  const zoneHours = Number(found[9] ?? '0')
  const zoneMinutes = Number(found[10] ?? '0')
  if (hour > 23 || minute > 59 || second > 59 || zoneHours > 23 || zoneMinutes > 59) return undefined
  const localMs = Date.UTC(year, month - 1, day, hour, minute, second, milliseconds)
  const back = new Date(localMs)
  // Date.UTC rolls 31 February over into March, and reads years below 100 as 19xx: both must come back as they went in.
  if (back.getUTCFullYear() !== year || back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day)
    return undefined
  const offsetMs = (zoneHours * 60 + zoneMinutes) * 60_000
  return found[8] === '-' ? localMs + offsetMs : localMs - offsetMs
}
