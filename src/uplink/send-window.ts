/**
 * How many records may be unacknowledged on an MQTT link: up to `windowMax`, and one after a connection that broke.
 *
 * Some brokers close the connection after they refused a message (mosquitto 2.0.11 does). With more behind it the
 * refusal is lost in the reset of the connection, and the same would happen at each attempt; alone it is read,
 * and names the record. The window doubles with each acknowledgement.
 */

/** AWS IoT Core takes 100; a broker that takes fewer says so (MQTT 5). */
export const windowMax = 100

export class SendWindow {
  #records = windowMax

  /** What the broker's own maximum leaves of it. */
  records(receiveMaximum: number): number {
    return Math.min(this.#records, receiveMaximum)
  }

  acknowledged(): void {
    this.#records = Math.min(this.#records * 2, windowMax)
  }

  /** The connection broke with records under way. */
  broke(): void {
    this.#records = 1
  }
}
