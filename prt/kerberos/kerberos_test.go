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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	asn1 "golang.org/x/crypto/cryptobyte/asn1"

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

// kerberosName is the DER of a PrincipalName under its context tag.
func kerberosName(tag uint8, kind int64, names ...string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(contextTag(tag), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(kind) })
				b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						for _, n := range names {
							b.AddASN1(generalString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(n)) })
						}
					})
				})
			})
		})
	}
}

const generalString = asn1.Tag(27)

func contextTag(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific().Constructed() }

// asRepPart is the DER of an EncASRepPart of RFC 4120 5.4.2.
func asRepPart(t *testing.T, keyType int64, key string, server func(*cryptobyte.Builder)) []byte {
	t.Helper()
	var b cryptobyte.Builder
	field := func(b *cryptobyte.Builder, n uint8, add func(*cryptobyte.Builder)) { b.AddASN1(contextTag(n), add) }
	b.AddASN1(asn1.Tag(0x60|25), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			field(b, 0, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					field(b, 0, func(b *cryptobyte.Builder) { b.AddASN1Int64(keyType) })
					field(b, 1, func(b *cryptobyte.Builder) { b.AddASN1OctetString([]byte(key)) })
				})
			})
			field(b, 4, func(b *cryptobyte.Builder) { b.AddASN1BitString([]byte{0x40, 0xe0, 0, 1}) })
			field(b, 5, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(now) })
			field(b, 7, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(now) })
			field(b, 9, func(b *cryptobyte.Builder) {
				b.AddASN1(generalString, func(b *cryptobyte.Builder) { b.AddBytes([]byte("R")) })
			})
			server(b)
		})
	})
	der, err := b.Bytes()
	require.NoError(t, err)
	return der
}

// The values that RFC 4120 and a cache allow, and those beside them. (Encryption
// types are 16 bits wide in a cache and signed elsewhere.)
func TestASRepPartValues(t *testing.T) {
	names := func(n int) []string { return slices.Repeat([]string{"n"}, n) }
	krbtgt := kerberosName(10, 2, "krbtgt", "R")
	for name, part := range map[string][]byte{
		"key type 1":       asRepPart(t, 1, "k", krbtgt),
		"key type 32767":   asRepPart(t, 32767, "k", krbtgt),
		"name type 0":      asRepPart(t, 18, "k", kerberosName(10, 0, "n")),
		"name type 2^31-1": asRepPart(t, 18, "k", kerberosName(10, 1<<31-1, "n")),
		"16 names":         asRepPart(t, 18, "k", kerberosName(10, 2, names(16)...)),
	} {
		ticket, err := kerberos.ReadPart(part)
		require.NoError(t, err, name)
		require.Equal(t, uint32(0x40e00001), ticket.Flags)
		require.Equal(t, "R", ticket.Server.Realm)
	}
	for name, part := range map[string][]byte{
		"key type 0":      asRepPart(t, 0, "k", krbtgt),
		"key type -1":     asRepPart(t, -1, "k", krbtgt),
		"key type 32768":  asRepPart(t, 32768, "k", krbtgt),
		"no key":          asRepPart(t, 18, "", krbtgt),
		"name type -1":    asRepPart(t, 18, "k", kerberosName(10, -1, "n")),
		"name type 2^31":  asRepPart(t, 18, "k", kerberosName(10, 1<<31, "n")),
		"no name":         asRepPart(t, 18, "k", kerberosName(10, 2)),
		"17 names":        asRepPart(t, 18, "k", kerberosName(10, 2, names(17)...)),
		"name of another": asRepPart(t, 18, "k", kerberosName(11, 2, "n")),
	} {
		_, err := kerberos.ReadPart(part)
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
}

// Elements of another type do not count as absent or zero.
func TestASRepPartTypes(t *testing.T) {
	good := asRepPart(t, 18, "k", kerberosName(10, 2, "krbtgt", "R"))
	at := hex.EncodeToString([]byte(now.UTC().Format("20060102150405Z")))
	for name, change := range map[string][2]string{
		"the name's type is octets": {"a003020102", "a003040102"},
		"the name's type is empty":  {"a003020102", "a003020002"},
		"authtime is a text":        {"a511180f" + at, "a5111b0f" + at},
		"endtime is a text":         {"a711180f" + at, "a7111b0f" + at},
		"authtime is not a time":    {"a511180f" + at, "a511180f" + "7a" + at[2:]},
	} {
		text := hex.EncodeToString(good)
		require.Equal(t, 1, strings.Count(text, change[0]), name)
		_, err := kerberos.ReadPart(unhex(t, strings.Replace(text, change[0], change[1], 1)))
		require.ErrorIs(t, err, prt.ErrReply, name)
	}
}

// What stands outside the encrypted part is not authentic, but must be an AS-REP.
func TestOtherReplies(t *testing.T) {
	_, v := tgts(t)
	a := v.ASRep[0]
	key := unhex(t, a.ClientKey)
	for name, change := range map[string][2]string{
		"version 4":            {"a003020105a10302010b", "a003020104a10302010b"},
		"a TGS-REP":            {"a003020105a10302010b", "a003020105a10302010d"},
		"the application tag":  {"6b820316", "6d820316"},
		"the version's tag":    {"a003020105a10302010b", "a103020105a10302010b"},
		"the version's type":   {"a003020105a10302010b", "a003040105a10302010b"},
		"the ticket's tag":     {"a58201" + "7a6182", "a58201" + "7a6282"},
		"the cipher's type":    {"a282011f0482011b", "a282011f0382011b"},
		"AES-128":              {"a682013130" + "82012da003020112", "a682013130" + "82012da003020111"},
		"the realm's type":     {"a31e1b1c", "a31e0c1c"},
		"the type of the user": {"1b15616c696365", "0c15616c696365"},
	} {
		text := hex.EncodeToString(a.ASRep)
		require.Equal(t, 1, strings.Count(text, change[0]), name)
		_, err := kerberos.OpenASRep(unhex(t, strings.Replace(text, change[0], change[1], 1)), key)
		require.ErrorIs(t, err, prt.ErrReply, name)
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

// The values that a cache holds, and those beside them.
func TestCredentialCacheValues(t *testing.T) {
	names := func(n int) []string { return slices.Repeat([]string{"n"}, n) }
	ticket := kerberos.Ticket{
		Client: kerberos.Principal{Type: 1, Realm: "R", Names: names(16)}, Server: kerberos.Principal{Type: 2, Realm: "R", Names: []string{"krbtgt", "R"}},
		KeyType: 65535, Key: prt.NewSecret("k"), AuthTime: time.Unix(1, 0).UTC(), StartTime: time.Unix(2, 0).UTC(), EndTime: time.Unix(1<<32-1, 0).UTC(), DER: []byte{1},
	}
	with := func(change func(*kerberos.Ticket)) *kerberos.Ticket { t := ticket; change(&t); return &t }
	b, err := kerberos.WriteCache([]*kerberos.Ticket{&ticket})
	require.NoError(t, err)
	back, err := kerberos.ReadCache(b)
	require.NoError(t, err)
	require.Equal(t, []*kerberos.Ticket{&ticket}, back)
	_, err = kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.KeyType = 1 })})
	require.NoError(t, err)
	for _, bad := range []int{0, -1, 65536} {
		_, err := kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.KeyType = bad })})
		require.ErrorIs(t, err, prt.ErrRequest, "key type %d", bad)
	}
	for _, far := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<32, 0)} {
		b, err := kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.EndTime = far })})
		require.NoError(t, err)
		back, err := kerberos.ReadCache(b)
		require.NoError(t, err)
		require.True(t, back[0].EndTime.IsZero(), "%s is not a time of a cache", far)
	}
	b, err = kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.StartTime = time.Time{} })})
	require.NoError(t, err)
	back, err = kerberos.ReadCache(b)
	require.NoError(t, err)
	require.Equal(t, ticket.AuthTime, back[0].StartTime, "RFC 4120 5.3: without a starttime the authtime is it")
	b, err = kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.Client.Names = names(17) })})
	require.NoError(t, err)
	_, err = kerberos.ReadCache(b)
	require.ErrorIs(t, err, prt.ErrReply, "17 names")
	b, err = kerberos.WriteCache([]*kerberos.Ticket{with(func(t *kerberos.Ticket) { t.Server.Realm = "X-CACHECONF:" }), &ticket})
	require.NoError(t, err)
	back, err = kerberos.ReadCache(b)
	require.NoError(t, err)
	require.Equal(t, []*kerberos.Ticket{&ticket}, back, "configuration is not a ticket")

	_, err = kerberos.ReadCache(make([]byte, kerberos.MaxCacheSize))
	require.ErrorContains(t, err, "not a credential cache", "of the largest size")
	_, err = kerberos.ReadCache(make([]byte, kerberos.MaxCacheSize+1))
	require.ErrorContains(t, err, "too large")
}

// Addresses and authorization data are skipped.
func TestCredentialCacheLists(t *testing.T) {
	list, _ := tgts(t)
	b, err := kerberos.Cache(bg, list[:1], prt.Session{})
	require.NoError(t, err)
	want, err := kerberos.ReadCache(b)
	require.NoError(t, err)
	none := append([]byte{0x40, 0xe0, 0, 0}, make([]byte, 8)...) // flags, then two empty lists
	require.Equal(t, 1, bytes.Count(b, none))
	some := []byte{0x40, 0xe0, 0, 0,
		0, 0, 0, 2, 0, 2, 0, 0, 0, 4, 127, 0, 0, 1, 0, 2, 0, 0, 0, 4, 127, 0, 0, 2,
		0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 9}
	got, err := kerberos.ReadCache(bytes.Replace(b, none, some, 1))
	require.NoError(t, err)
	require.Equal(t, want, got)
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
