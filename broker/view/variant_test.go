package view

import (
	"reflect"
	"testing"

	"github.com/hwangso/hwangso/store"
	"github.com/hwangso/hwangso/store/graph"
)

func TestInVariant(t *testing.T) {
	full := func() *store.Record {
		return &store.Record{Log: 1, Seq: 2, Time: 3, Sender: 4, Device: 5, CID: "c", Kind: store.KindImage, Audience: store.AudienceSender,
			Warn: true, Expiry: 6, Text: []byte("hello"), Extra: []byte{0xa0}, Position: 7}
	}
	v := &graph.Variant{Text: "안녕"}
	r := full()
	r.Memo.Store(&store.Memo{Value: "of the record"})
	got := InVariant(r, v)
	want := full()
	want.Text = []byte("안녕")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v: everything but the text stays, and there is no memo", got, want)
	}
	v.Extra = []byte{0xa1, 0x06, 0x01}
	if got := InVariant(r, v); string(got.Extra) != string(v.Extra) {
		t.Errorf("extra %x, want the variant's", got.Extra)
	}
	for name, change := range map[string]func(*store.Record){
		"recalled":     func(r *store.Record) { r.Recalled = true },
		"edited":       func(r *store.Record) { r.Edited = 9 },
		"an operation": func(r *store.Record) { r.Op = store.Op{Kind: store.OpRecall, Target: 1} },
		"a change":     func(r *store.Record) { r.Change.Kind = store.ChangeJoin },
	} {
		r := full()
		change(r)
		if InVariant(r, v) != r {
			t.Errorf("%s: it is not the record as it is", name)
		}
	}
	if r := full(); InVariant(r, nil) != r {
		t.Error("without a variant it is not the record as it is")
	}
}
