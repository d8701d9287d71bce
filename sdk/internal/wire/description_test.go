package wire

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

func TestCheckDescriptionNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		d    *fnhostv1.Description
		want string // "": valid
	}{
		{"least", &fnhostv1.Description{Role: "rag"}, ""},
		{"all", &fnhostv1.Description{
			Role: "rag-2", Name: "my-rag", Emits: []string{"persist", "persist:tasks"},
			Subscriptions: []*fnhostv1.Subscription{{Stream: "rag:tasks", Group: "rag-workers", Results: "rag:results"}, {Stream: "x.y_z:1"}},
			Schemas:       []*fnhostv1.Schema{{Type: "rag.query", JsonSchema: []byte(`{}`)}},
		}, ""},
		{"no role", &fnhostv1.Description{}, `role ""`},
		{"role in capitals", &fnhostv1.Description{Role: "Rag"}, `role "Rag"`},
		{"name", &fnhostv1.Description{Role: "rag", Name: "my rag"}, `name "my rag"`},
		{"stream", &fnhostv1.Description{Role: "rag", Subscriptions: []*fnhostv1.Subscription{{}}}, `subscription: name ""`},
		{"results", &fnhostv1.Description{Role: "rag", Subscriptions: []*fnhostv1.Subscription{{Stream: "s", Results: "a b"}}}, `results: name "a b"`},
		{"twice", &fnhostv1.Description{Role: "rag", Subscriptions: []*fnhostv1.Subscription{{Stream: "s"}, {Stream: "s"}}}, "is there twice"},
		{"emits", &fnhostv1.Description{Role: "rag", Emits: []string{"{x}"}}, `emits: name "{x}"`},
		{"schema", &fnhostv1.Description{Role: "rag", Schemas: []*fnhostv1.Schema{{Type: "t", JsonSchema: []byte("{")}}}, `schema of type "t"`},
	} {
		err := CheckDescription(test.d)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v; want %q", test.name, err, test.want)
		}
	}
}
