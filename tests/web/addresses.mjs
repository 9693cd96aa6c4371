// The gateway's address for each page [protocol, hostname, content of the meta element or null].
import { gatewayOf } from "../../web/client.js";

const pages = JSON.parse(process.argv[2]);
console.log(JSON.stringify(pages.map(([protocol, hostname, content]) => {
  const document = { querySelector: () => (content === null ? null : { content }) };
  return gatewayOf(document, { protocol, hostname });
})));
