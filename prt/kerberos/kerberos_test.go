package kerberos_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/prt/kerberos"
)

var (
	bg  = context.Background()
	now = time.Date(2025, 3, 4, 10, 11, 12, 0, time.UTC)
)

// tgts are the tickets of the vectors, their client keys in the clear, as some
// services send them. How a session key seals them is for package prt to test.
func tgts(t testing.TB) (list []prt.TGT, v vectors) {
	v = load(t)
	for _, a := range v.ASRep {
		list = append(list, prt.TGT{
			Cloud: a.Realm == "KERBEROS.MICROSOFTONLINE.COM", Realm: a.Realm, Client: a.Client, Service: "krbtgt",
			KeyType: 18, ClientKey: clear64(unhex(t, a.ClientKey)), ASRep: a.ASRep,
		})
	}
	return list, v
}

func clear64(key []byte) prt.Secret { return prt.NewSecret(base64.StdEncoding.EncodeToString(key)) }

func load(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "kerberos.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestOpenTGT(t *testing.T) {
	list, v := tgts(t)
	for i, want := range v.ASRep {
		t.Run(want.Name, func(t *testing.T) {
			got, err := kerberos.Open(bg, list[i], prt.Session{})
			require.NoError(t, err)
			require.Equal(t, kerberos.Principal{Type: 1, Realm: want.Realm, Names: []string{want.Client}}, got.Client)
			require.Equal(t, kerberos.Principal{Type: 2, Realm: want.Realm, Names: []string{"krbtgt", want.Realm}}, got.Server)
			require.Equal(t, want.KeyType, got.KeyType)
			require.Equal(t, want.Key, hex.EncodeToString(got.Key.Bytes()))
			require.Equal(t, want.Ticket, hex.EncodeToString(got.DER))
			require.Equal(t, uint32(0x40e00000), got.Flags, "forwardable, renewable, initial, pre-authenticated")
			require.Equal(t, now, got.AuthTime)
			require.Equal(t, now.Add(10*time.Hour), got.EndTime)
			if i == 0 {
				require.Equal(t, now.Add(time.Second), got.StartTime)
				require.Equal(t, now.Add(7*24*time.Hour), got.RenewTill)
			} else {
				require.True(t, got.StartTime.IsZero() && got.RenewTill.IsZero())
			}
		})
	}
}

func TestOpenTGTRefusals(t *testing.T) {
	list, v := tgts(t)
	for i, g := range list {
		g.ClientKey = list[1-i].ClientKey
		_, err := kerberos.Open(bg, g, prt.Session{})
		require.ErrorContains(t, err, "does not decrypt", "another ticket's key")
		g.KeyType = 23
		_, err = kerberos.Open(bg, g, prt.Session{})
		require.ErrorIs(t, err, prt.ErrReply)
	}
	_, err := kerberos.Open(bg, prt.TGT{}, prt.Session{})
	require.ErrorIs(t, err, prt.ErrRequest)
	bad := list[0]
	bad.ClientKey = prt.NewSecret("c2hvcnQ=")
	_, err = kerberos.Open(bg, bad, prt.Session{})
	require.ErrorIs(t, err, prt.ErrReply)

	key, der := unhex(t, v.ASRep[0].ClientKey), v.ASRep[0].ASRep
	for n := range der {
		_, err := kerberos.OpenASRep(der[:n], key)
		require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
	}
	// The encrypted part is authenticated; what is outside of it may change,
	// but nothing in it.
	good, err := kerberos.OpenASRep(der, key)
	require.NoError(t, err)
	for i := range der {
		der[i] ^= 0x01
		if got, err := kerberos.OpenASRep(der, key); err == nil {
			require.Equal(t, good.Key.Reveal(), got.Key.Reveal())
			require.Equal(t, good.Server, got.Server)
			require.Equal(t, good.EndTime, got.EndTime)
		}
		der[i] ^= 0x01
	}
}

// What the encrypted part holds is authentic, but by the service's word only.
func TestHostileASRepPart(t *testing.T) {
	_, v := tgts(t)
	for _, a := range v.ASRep {
		part := unhex(t, a.Part)
		good, err := kerberos.ReadPart(part)
		require.NoError(t, err)
		require.Equal(t, a.Key, hex.EncodeToString(good.Key.Bytes()))
		for n := range part {
			_, err := kerberos.ReadPart(part[:n])
			require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
		}
		for i := range part {
			for _, to := range []byte{0, 1, 0x7f, 0x80, 0x84, 0xff} {
				was := part[i]
				part[i] = to
				if got, err := kerberos.ReadPart(part); err == nil {
					require.False(t, got.Key.IsZero() || len(got.Server.Names) == 0 || got.KeyType < 1)
				}
				part[i] = was
			}
		}
		for _, flags := range []string{"030500", "030400", "0301", "03050140e00000"} {
			bad := bytes.Replace(part, unhex(t, "03050040e00000"), unhex(t, flags), 1)
			_, err := kerberos.ReadPart(bad)
			require.ErrorIs(t, err, prt.ErrReply, "flags %s", flags)
		}
	}
}

func TestCredentialCache(t *testing.T) {
	list, v := tgts(t)
	list = append(list, prt.TGT{Error: "none"})
	b, err := kerberos.Cache(bg, list, prt.Session{})
	require.NoError(t, err)
	back, err := kerberos.ReadCache(b)
	require.NoError(t, err)
	require.Len(t, back, 2)
	require.Equal(t, "CONTOSO.EXAMPLE", back[0].Client.Realm, "the domain's ticket is first and default")
	require.Equal(t, v.ASRep[1].Key, hex.EncodeToString(back[0].Key.Bytes()))
	require.Equal(t, v.ASRep[0].Ticket, hex.EncodeToString(back[1].DER))
	require.Equal(t, uint32(0x40e00000), back[1].Flags)
	again, err := kerberos.WriteCache(back)
	require.NoError(t, err)
	require.Equal(t, b, again)

	for n := range b {
		got, err := kerberos.ReadCache(b[:n])
		require.True(t, err != nil || len(got) < 2, "truncated to %d", n)
	}
	_, err = kerberos.Cache(bg, nil, prt.Session{})
	require.ErrorIs(t, err, prt.ErrRequest)
	_, err = kerberos.WriteCache([]*kerberos.Ticket{{}})
	require.ErrorIs(t, err, prt.ErrRequest)
	for _, bad := range [][]byte{nil, {5}, {5, 3}, {5, 4, 0xff, 0xff}, append([]byte{5, 4, 0, 0, 0, 0, 0, 1}, 0xff, 0xff, 0xff, 0xff), make([]byte, kerberos.MaxCacheSize+1)} {
		_, err := kerberos.ReadCache(bad)
		require.ErrorIs(t, err, prt.ErrReply)
	}
}

// MIT Kerberos reads the cache.
func TestCredentialCacheByKlist(t *testing.T) {
	klist, err := exec.LookPath("klist")
	if err != nil {
		if os.Getenv("PRTBROKER_REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip("no klist (MIT Kerberos: apt-get install krb5-user)")
	}
	list, _ := tgts(t)
	b, err := kerberos.Cache(bg, list, prt.Session{})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ccache")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	cmd := exec.Command(klist, "-e", "-f", "-c", "FILE:"+file)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, want := range []string{
		"Default principal: alice@CONTOSO.EXAMPLE",
		"krbtgt/CONTOSO.EXAMPLE@CONTOSO.EXAMPLE",
		"krbtgt/KERBEROS.MICROSOFTONLINE.COM@KERBEROS.MICROSOFTONLINE.COM",
		"for client alice\\@contoso.example@KERBEROS.MICROSOFTONLINE.COM",
		"Flags: FRIA",
		"03/04/25 10:11:13  03/04/25 20:11:12",
		"aes256-cts-hmac-sha1-96",
	} {
		require.Contains(t, string(out), want)
	}
}

// The key of a ticket does not print.
func TestTicketDoesNotPrint(t *testing.T) {
	ticket := kerberos.Ticket{Key: prt.NewSecret("canary")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.NotContains(t, fmt.Sprintf(verb, ticket), "canary", verb)
	}
}
