// Package entratest is a Microsoft Entra ID in the process, for tests.
package entratest
