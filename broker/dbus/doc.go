// Package dbus is the broker interface of Linux desktops on D-Bus,
// com.microsoft.identity.broker1: served, so that programs that know
// Microsoft's broker find this one in its place, and spoken, so that a Go
// program finds whichever broker is running.
//
// The programs that call it are Microsoft Edge, the extension linux-entra-sso
// (Chrome, Firefox, Thunderbird), sso-mib (FreeRDP), the OneDrive client, Teams
// for Linux and, through Microsoft's msalruntime, MSAL for Python, .NET and
// Node, the Azure CLI and others.
//
// # Serving
//
// A [Handler] answers the eight methods over a broker, and knows no bus. A
// [Service] puts a Handler on a bus:
//
//	b, err := broker.New(ctx, cfg) // with a Prompter, for interactive calls
//	h := &dbus.Handler{Broker: dbus.OwnUser(b)}
//	err = (&dbus.Service{Handler: h}).Run(ctx)
//
// The program examples/linuxbroker is that with a command line.
//
// # Calling
//
// [Dial] returns a [Client] with the methods, types, options and errors of
// package broker, so that what takes a broker's AcquireTokenSilent takes it:
// broker.RoundTripper, broker/oauth2broker and broker/azcred. [Connect] uses the
// program's own registration, or else a broker on the bus. A Service over a
// Client is a bridge between two buses, such as that of a container and that of
// its host.
//
// # What callers get
//
// Whoever may connect to the user's session bus may ask for a token of any app
// for the user: the interface has no notion of which program calls. That is how
// every broker on Linux works; a program that is confined must not reach the
// bus name. A Handler refuses the users of other accounts of the machine, never
// gives a token of the broker client itself or for the registration and key
// services, which would let the caller register devices and keys for the user,
// and signs cookies for sign-in hosts alone. A silent call never prompts.
//
// # What is not official
//
// The interface is not documented by Microsoft. What is here was measured with
// Microsoft's own library and read in the source of public clients; see package
// broker/dbus/internal/wire. Microsoft's broker itself and Edge were never
// tried against it.
package dbus
