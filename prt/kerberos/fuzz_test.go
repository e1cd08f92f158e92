package kerberos_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/prt"
	"github.com/prtbroker/prtbroker/prt/kerberos"
)

// A credential cache that is read writes the same tickets.
func FuzzCredentialCache(f *testing.F) {
	list, _ := tgts(f)
	b, err := kerberos.Cache(bg, list, prt.Session{})
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{5, 4, 0, 12, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tickets, err := kerberos.ReadCache(b)
		if err != nil {
			require.ErrorIs(t, err, prt.ErrReply)
			return
		}
		for _, ticket := range tickets {
			if ticket.KeyType == 0 {
				return
			}
			// A start of zero is written as the time of authentication.
			if ticket.StartTime.IsZero() {
				ticket.StartTime = ticket.AuthTime
			}
		}
		if len(tickets) == 0 {
			return
		}
		out, err := kerberos.WriteCache(tickets)
		require.NoError(t, err)
		again, err := kerberos.ReadCache(out)
		require.NoError(t, err)
		require.Equal(t, tickets, again)
	})
}

// An AS-REP whose encrypted part is not authentic yields no key.
func FuzzASRep(f *testing.F) {
	v := load(f)
	for _, a := range v.ASRep {
		f.Add(a.ASRep)
	}
	key := unhex(f, v.ASRep[0].ClientKey)
	want, err := kerberos.OpenASRep(v.ASRep[0].ASRep, key)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := kerberos.OpenASRep(der, key)
		if err != nil {
			return
		}
		require.True(t, want.Key.Equal(got.Key), "a key that nobody sealed")
		require.Equal(t, want.Server, got.Server)
		require.Equal(t, want.Flags, got.Flags)
	})
}

// The decrypted part of an AS-REP makes a ticket that a cache holds, or none.
func FuzzASRepPart(f *testing.F) {
	v := load(f)
	for _, a := range v.ASRep {
		f.Add(unhex(f, a.Part))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		ticket, err := kerberos.ReadPart(der)
		if err != nil {
			require.ErrorIs(t, err, prt.ErrReply)
			return
		}
		b, err := kerberos.WriteCache([]*kerberos.Ticket{ticket})
		require.NoError(t, err)
		back, err := kerberos.ReadCache(b)
		require.NoError(t, err)
		require.LessOrEqual(t, len(back), 1)
		if len(back) == 1 {
			require.True(t, ticket.Key.Equal(back[0].Key))
			require.Equal(t, ticket.Server, back[0].Server)
			require.Equal(t, ticket.Flags, back[0].Flags)
		}
	})
}
