package hooks

import (
	"errors"
	"testing"
	"time"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/policy"
)

func TestEveryDenialHasACodeAndAText(t *testing.T) {
	denials := 0
	for _, o := range policy.Outcomes {
		reason, denied := o.Denied()
		err := Refusal(o, time.Minute)
		if !denied {
			if err != nil {
				t.Errorf("%s is refused: %v", o, err)
			}
			continue
		}
		denials++
		e, ok := errors.AsType[*store.Error](err)
		if !ok || e.Word() != reason || e.Text == "" {
			t.Errorf("%s: %+v", o, err)
			continue
		}
		if (e.Retry == time.Minute) != (e.Code == store.CodeTooMany) {
			t.Errorf("%s: code %d, retry %v", o, e.Code, e.Retry)
		}
		if again := Refusal(o, 0); store.CodeOf(again) != e.Code || again.(*store.Error).Retry != 0 {
			t.Errorf("%s: a retry was kept: %+v", o, again)
		}
	}
	if denials != len(refusals) {
		t.Errorf("%d denials, %d refusals", denials, len(refusals))
	}
	if err := Refusal("DENY:brand_new", 0); store.CodeOf(err) != store.CodeForbidden {
		t.Errorf("an unknown denial must deny: %v", err)
	}
}
