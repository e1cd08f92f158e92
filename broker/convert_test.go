package broker

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/why"
	"github.com/prtbroker/prtbroker/claims"
)

// No field is left behind where a record of a room is mapped.
func TestConversionsMapEveryField(t *testing.T) {
	t.Parallel()
	all := observations([]account.Observation{{
		Time: time.Unix(1, 0), ClientID: "c", Resource: "r", Outcome: "asked", Code: 1, Verdict: "v", Claims: "{}", Credential: "hello",
		MFA: claims.Yes, MFAOn: time.Unix(2, 0), CorrelationID: "i",
	}})
	require.Len(t, all, 1)
	require.Equal(t, reflect.TypeFor[account.Observation]().NumField(), reflect.TypeFor[why.Observation]().NumField())
	v := reflect.ValueOf(all[0])
	for i := range v.NumField() {
		require.False(t, v.Field(i).IsZero(), "%s is not mapped", v.Type().Field(i).Name)
	}
}
