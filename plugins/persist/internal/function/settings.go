package function

import (
	"fmt"
	"time"

	"github.com/fnhost/fnhost/sdk"
)

const (
	defaultInboxRetention = 7 * 24 * time.Hour
	minInboxRetention     = time.Minute
)

type settings struct {
	inboxRetention time.Duration
}

func readSettings(s sdk.Settings) (settings, error) {
	var written struct {
		InboxRetention *string `json:"inbox_retention"`
	}
	if err := s.Decode(&written); err != nil {
		return settings{}, err
	}
	if written.InboxRetention == nil {
		return settings{inboxRetention: defaultInboxRetention}, nil
	}
	d, err := time.ParseDuration(*written.InboxRetention)
	if err != nil || d < minInboxRetention {
		return settings{}, &sdk.SettingError{
			Setting: "inbox_retention",
			Message: fmt.Sprintf("is %q; want a duration of at least %s, as 168h", *written.InboxRetention, minInboxRetention),
		}
	}
	return settings{inboxRetention: d}, nil
}
