package sdk_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

func nothing(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil }

func TestConfigureHandsOverTheSettingsOnce(t *testing.T) {
	t.Parallel()
	var got sdk.Settings
	f := handler(nothing)
	f.Configure = func(_ context.Context, s sdk.Settings) error { got = s; return nil }
	h := serve(t, f)
	request := &fnhostv1.ConfigureRequest{Settings: []byte(`{"a":1}`), Concurrency: 5, StateDir: "/d"}
	if err := client.Configure(t.Context(), h.conn, request); err != nil {
		t.Fatal(err)
	}
	if string(got.JSON) != `{"a":1}` || got.Concurrency != 5 || got.StateDir != "/d" {
		t.Errorf("got %+v", got)
	}
	if err := client.Configure(t.Context(), h.conn, request); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second time: %v", err)
	}
}

func TestConfigureErrorsNameTheirSettings(t *testing.T) {
	t.Parallel()
	type settings struct {
		Size int `json:"size"`
		DB   struct {
			URL string `json:"url"`
		} `json:"db"`
	}
	for _, test := range []struct {
		name, settings string
		configure      func(context.Context, sdk.Settings) error
		want           []string
	}{
		{"several", `{}`, func(context.Context, sdk.Settings) error {
			return errors.Join(&sdk.SettingError{Setting: "a.b", Message: "is bad"}, errors.New("and \xff more"))
		}, []string{"a.b: is bad", ": and � more"}},
		{"unknown", `{"sise":1}`, func(_ context.Context, s sdk.Settings) error { return s.Decode(&settings{}) },
			[]string{"sise: is not a setting of this function"}},
		{"another kind", `{"db":{"url":1}}`, func(_ context.Context, s sdk.Settings) error { return s.Decode(&settings{}) },
			[]string{"db.url: is a number, want string"}},
		{"of a function that has none", `{"a":1}`, nil, []string{"a: is not a setting of this function"}},
		{"none", ``, nil, nil},
	} {
		f := handler(nothing)
		f.Configure = test.configure
		h := serve(t, f)
		err := client.Configure(t.Context(), h.conn, &fnhostv1.ConfigureRequest{Settings: []byte(test.settings), Concurrency: 1})
		var got []string
		if rejected := new(client.ConfigureError); errors.As(err, &rejected) {
			for _, s := range rejected.Settings {
				got = append(got, s.Setting+": "+s.Message)
			}
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestWorkComesOnceAndAfterConfigure(t *testing.T) {
	t.Parallel()
	h := serve(t, handler(nothing))
	ends := func() codes.Code {
		w, err := client.Work(t.Context(), h.conn, h)
		if err != nil {
			t.Fatal(err)
		}
		receive(t, "the stream's end", w.Done())
		return status.Code(w.Err())
	}
	if code := ends(); code != codes.FailedPrecondition {
		t.Errorf("before Configure: %v", code)
	}
	h.configure(1)
	w, err := client.Work(t.Context(), h.conn, h)
	if err != nil {
		t.Fatal(err)
	}
	h.worker = w
	h.deliver(1, 1)
	h.outcome(1)
	if code := ends(); code != codes.FailedPrecondition {
		t.Errorf("a second stream: %v", code)
	}
	w.CloseSend()
	receive(t, "the end", w.Done())
}
