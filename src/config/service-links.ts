/**
 * Variables that an orchestrator sets on its own, not a user: for a service called "fescue" Kubernetes gives every
 * container of the namespace FESCUE_SERVICE_HOST, FESCUE_PORT=tcp://10.0.0.7:1883, FESCUE_PORT_1883_TCP_ADDR and more
 * (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables), and Docker's
 * links look the same. For one called "fescue-mqtt", FESCUE_MQTT_PORT is such a variable and the name of a key as
 * well: its value tells.
 */

const linkNames = /_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/
const linkAddress = /^(tcp|udp|sctp):\/\//

/** Whether a variable is a service link: to be passed over. */
export function isServiceLink(variable: string, value: string): boolean {
  return linkNames.test(variable) || (/_PORT$/.test(variable) && linkAddress.test(value))
}
