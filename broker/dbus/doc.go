// Package dbus implements the D-Bus broker interface of Linux desktops,
// com.microsoft.identity.broker1. It serves the interface, so that programs
// written for Microsoft's broker find this one in its place, and it calls the
// interface, so that a Go program can use whichever broker is running.
//
// The programs that call it are Microsoft Edge, the extension linux-entra-sso
// (Chrome, Firefox, Thunderbird), sso-mib (FreeRDP), the OneDrive client, Teams
// for Linux and, through Microsoft's msalruntime, MSAL for Python, .NET and
// Node, the Azure CLI and others.
//
// # Serving
//
// A [Handler] answers the eight methods from a broker and is independent of the
// bus. A [Service] puts a Handler on a bus:
//
//	h := &dbus.Handler{Broker: dbus.OwnUser(b)} // b is a *broker.Broker with a Prompter
//	err := (&dbus.Service{Handler: h}).Run(ctx) // until ctx ends
//
// The program examples/linuxbroker wraps this in a command line.
//
// # Calling
//
// A program gets a token from the broker on the bus, whichever that is:
//
//	client, err := dbus.Dial(ctx, dbus.Options{App: broker.App{ClientID: appID}})
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	token, err := client.AcquireTokenSilent(ctx, []string{"https://graph.microsoft.com/User.Read"})
//
// [Dial] returns a [Client] with the methods, types, options and errors of
// package broker, so it can be used wherever a broker's AcquireTokenSilent is:
// in broker.RoundTripper, broker/oauth2broker and broker/azcred. [Connect] uses
// the program's own registration or else a broker on the bus. A Service over a
// Client bridges two buses, such as those of a container and its host.
//
// # What callers get
//
// Any program that can connect to the user's session bus can request a token for
// any app on the user's behalf: the interface does not identify the calling
// program. Every broker on Linux works this way, so a confined program must not
// be able to reach the bus name. A Handler refuses callers that run as another
// user of the machine. It never returns a token of the broker client itself or
// for the registration and key services, which would let the caller register
// devices and keys for the user, and it signs cookies only for sign-in hosts. A
// silent call never prompts.
//
// # What is not official
//
// Microsoft does not document the interface. This implementation follows
// measurements with Microsoft's own library and the source of public clients;
// see package broker/dbus/internal/wire. It has never been tested with
// Microsoft's broker itself or with Edge.
package dbus
