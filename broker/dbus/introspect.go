package dbus

import (
	"strings"

	"github.com/prtbroker/prtbroker/broker/dbus/internal/wire"
)

const introspectable = "org.freedesktop.DBus.Introspectable"

const introspectHead = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

// introspection describes an object: the broker's or one of its parents.
// Microsoft's broker has had no introspection since version 2.0.2, so no
// client needs it, but busctl and D-Feet do.
func introspection(path string) string {
	if path == wire.Path {
		return introspectHead + brokerNode()
	}
	way := strings.TrimSuffix(path, "/") + "/"
	rest, ok := strings.CutPrefix(wire.Path, way)
	if !ok {
		return introspectHead + "<node/>\n"
	}
	next, _, _ := strings.Cut(rest, "/")
	return introspectHead + "<node>\n  <node name=\"" + next + "\"/>\n</node>\n"
}

func brokerNode() string {
	var b strings.Builder
	b.WriteString("<node>\n  <interface name=\"" + wire.Interface + "\">\n")
	for _, m := range wire.Methods {
		b.WriteString("    <method name=\"" + m + "\">\n")
		for _, a := range []struct{ name, way string }{
			{"protocol_version", "in"}, {"correlation_id", "in"}, {"request_json", "in"}, {"response_json", "out"},
		} {
			b.WriteString("      <arg name=\"" + a.name + "\" type=\"s\" direction=\"" + a.way + "\"/>\n")
		}
		b.WriteString("    </method>\n")
	}
	b.WriteString("  </interface>\n  <interface name=\"" + introspectable + "\">\n")
	b.WriteString("    <method name=\"Introspect\">\n      <arg name=\"xml_data\" type=\"s\" direction=\"out\"/>\n    </method>\n  </interface>\n")
	b.WriteString("  <interface name=\"org.freedesktop.DBus.Peer\">\n    <method name=\"Ping\"/>\n    <method name=\"GetMachineId\">\n      <arg name=\"machine_uuid\" type=\"s\" direction=\"out\"/>\n    </method>\n  </interface>\n</node>\n")
	return b.String()
}
