// Package broker is an authentication broker for Microsoft Entra ID.
package broker
