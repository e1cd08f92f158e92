package prt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
)

// tgts are the tickets of the vectors, their client keys sealed under the
// session key in three of the forms that services use.
func tgts(t testing.TB, s prt.Session) (list []prt.TGT, v kerberosVectors) {
	load(t, "kerberos.json", &v)
	key := s.Key.(*prt.SoftwareKey)
	for i, a := range v.ASRep {
		iv := make([]byte, []int{16, 12}[i%2])
		jwe := sealed(t, key, unhex(t, ctxHex), iv, unhex(t, a.ClientKey))
		list = append(list, prt.TGT{
			Cloud: a.Realm == "KERBEROS.MICROSOFTONLINE.COM", Realm: a.Realm, Client: a.Client, Service: "krbtgt",
			KeyType: 18, ClientKey: prt.NewSecret(jwe), ASRep: a.ASRep,
		})
	}
	return list, v
}

func TestOpenTGT(t *testing.T) {
	s := session(t)
	list, v := tgts(t, s)
	for i, want := range v.ASRep {
		t.Run(want.Name, func(t *testing.T) {
			got, err := list[i].Open(bg, s)
			require.NoError(t, err)
			require.Equal(t, prt.Principal{Type: 1, Realm: want.Realm, Names: []string{want.Client}}, got.Client)
			require.Equal(t, prt.Principal{Type: 2, Realm: want.Realm, Names: []string{"krbtgt", want.Realm}}, got.Server)
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
	// The key itself, or base64 of it inside the JWE.
	plain := list[0]
	plain.ClientKey = prt.NewSecret(base64.StdEncoding.EncodeToString(unhex(t, v.ASRep[0].ClientKey)))
	_, err := plain.Open(bg, s)
	require.NoError(t, err)
	text := base64.StdEncoding.EncodeToString(unhex(t, v.ASRep[0].ClientKey))
	plain.ClientKey = prt.NewSecret(sealed(t, s.Key.(*prt.SoftwareKey), unhex(t, ctxHex), make([]byte, 12), []byte(text)))
	_, err = plain.Open(bg, s)
	require.NoError(t, err)
}

func TestOpenTGTRefusals(t *testing.T) {
	s := session(t)
	list, v := tgts(t, s)
	wrong := softwareKey(t, "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	for _, g := range list {
		_, err := g.Open(bg, prt.Session{Key: wrong})
		require.Error(t, err, "another session key")
		g.KeyType = 23
		_, err = g.Open(bg, s)
		require.ErrorIs(t, err, prt.ErrReply)
	}
	_, err := prt.TGT{}.Open(bg, s)
	require.ErrorIs(t, err, prt.ErrRequest)
	bad := list[0]
	bad.ClientKey = prt.NewSecret("c2hvcnQ=")
	_, err = bad.Open(bg, s)
	require.ErrorIs(t, err, prt.ErrReply)
	_, err = list[1].Open(bg, prt.Session{Key: failing{os.ErrDeadlineExceeded}})
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	key, der := unhex(t, v.ASRep[0].ClientKey), v.ASRep[0].ASRep
	for n := range der {
		_, err := prt.OpenASRep(der[:n], key)
		require.Error(t, err, "truncated to %d", n)
	}
	// The encrypted part is authenticated; what is outside of it may change,
	// but nothing in it.
	good, err := prt.OpenASRep(der, key)
	require.NoError(t, err)
	for i := range der {
		der[i] ^= 0x01
		if got, err := prt.OpenASRep(der, key); err == nil {
			require.Equal(t, good.Key.Reveal(), got.Key.Reveal())
			require.Equal(t, good.Server, got.Server)
			require.Equal(t, good.EndTime, got.EndTime)
		}
		der[i] ^= 0x01
	}
}

// What the encrypted part holds is authentic, but by the service's word only.
func TestHostileASRepPart(t *testing.T) {
	_, v := tgts(t, session(t))
	for _, a := range v.ASRep {
		part := unhex(t, a.Part)
		good, err := prt.ReadPart(part)
		require.NoError(t, err)
		require.Equal(t, a.Key, hex.EncodeToString(good.Key.Bytes()))
		for n := range part {
			_, err := prt.ReadPart(part[:n])
			require.ErrorIs(t, err, prt.ErrReply, "truncated to %d", n)
		}
		for i := range part {
			for _, to := range []byte{0, 1, 0x7f, 0x80, 0x84, 0xff} {
				was := part[i]
				part[i] = to
				if got, err := prt.ReadPart(part); err == nil {
					require.False(t, got.Key.IsZero() || len(got.Server.Names) == 0 || got.KeyType < 1)
				}
				part[i] = was
			}
		}
		for _, flags := range []string{"030500", "030400", "0301", "03050140e00000"} {
			bad := bytes.Replace(part, unhex(t, "03050040e00000"), unhex(t, flags), 1)
			_, err := prt.ReadPart(bad)
			require.ErrorIs(t, err, prt.ErrReply, "flags %s", flags)
		}
	}
}

func TestCredentialCache(t *testing.T) {
	s := session(t)
	list, v := tgts(t, s)
	tok := &prt.Token{TGTs: append(list, prt.TGT{Error: "none"})}
	b, err := tok.CredentialCache(bg, s)
	require.NoError(t, err)
	back, err := prt.ParseCredentialCache(b)
	require.NoError(t, err)
	require.Len(t, back, 2)
	require.Equal(t, "CONTOSO.EXAMPLE", back[0].Client.Realm, "the domain's ticket is first and default")
	require.Equal(t, v.ASRep[1].Key, hex.EncodeToString(back[0].Key.Bytes()))
	require.Equal(t, v.ASRep[0].Ticket, hex.EncodeToString(back[1].DER))
	require.Equal(t, uint32(0x40e00000), back[1].Flags)
	again, err := prt.MarshalCredentialCache(back)
	require.NoError(t, err)
	require.Equal(t, b, again)

	for n := range b {
		got, err := prt.ParseCredentialCache(b[:n])
		require.True(t, err != nil || len(got) < 2, "truncated to %d", n)
	}
	_, err = (&prt.Token{}).CredentialCache(bg, s)
	require.ErrorIs(t, err, prt.ErrRequest)
	_, err = tok.CredentialCache(bg, prt.Session{Key: softwareKey(t, "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")})
	require.Error(t, err)
	_, err = prt.MarshalCredentialCache([]*prt.Ticket{{}})
	require.ErrorIs(t, err, prt.ErrRequest)
	for _, bad := range [][]byte{nil, {5}, {5, 3}, {5, 4, 0xff, 0xff}, append([]byte{5, 4, 0, 0, 0, 0, 0, 1}, 0xff, 0xff, 0xff, 0xff), make([]byte, prt.MaxCacheSize+1)} {
		_, err := prt.ParseCredentialCache(bad)
		require.ErrorIs(t, err, prt.ErrReply)
	}
}

// MIT Kerberos reads the cache.
func TestCredentialCacheByKlist(t *testing.T) {
	klist, err := exec.LookPath("klist")
	if err != nil {
		missing(t, "no klist (MIT Kerberos: apt-get install krb5-user)")
	}
	s := session(t)
	list, _ := tgts(t, s)
	b, err := (&prt.Token{TGTs: list}).CredentialCache(bg, s)
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
