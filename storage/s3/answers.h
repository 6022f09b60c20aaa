#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/s3/http_transport.h"

// What a store's answers say. All here is thread-safe.
namespace backup::storage::s3 {

// An <Error>; empty where it said nothing, as in answers to HEAD.
struct StoreError {
  std::string code;         // For example "SlowDown".
  std::string message;      // Printable, cut at kMaxMessageSize.
  std::string server_time;  // Of RequestTimeTooSkewed, if it is told.

  static constexpr size_t kMaxMessageSize = 200;
};

// Of an answer whose body is an error, whatever its status: what completes an upload says 200
// before it knows.
StoreError ErrorOf(const HttpAnswer& answer);
bool HasErrorBody(const HttpAnswer& answer);

// Whether the same request may well succeed a little later: no answer, an internal error, too much
// at once. Not what only an operator can mend, such as a certificate that is not trusted.
bool IsTransient(const HttpAnswer& answer);
// How long the store wants to be left alone; zero if it does not say that in seconds.
absl::Duration RetryAfter(const HttpAnswer& answer);
// Whether others than these credentials might.
bool RefusesCredentials(const HttpAnswer& answer);
// Whether the store has too much to do.
bool IsBusy(const HttpAnswer& answer);

// What an answer that is not good means to whoever wanted something of a store of blobs. NotFound
// if there is no such object, AlreadyExists if there is one in the way, OutOfRange if it has no
// such bytes; reasons STORAGE_FULL, OVERLOADED if the store said that it has too much to do,
// BACKEND_DOWN whenever somebody has to see to the store or to its configuration: nothing is wrong
// with what is stored; reason STORAGE_IO if others may not be so: what may not be deleted, or was
// moved to an archive. `method` tells whether an answer without a word may mean that there is no
// such object; `doing` is a verb with its object, `right` what a policy has to allow for it; `now`
// tells how wrong this machine's clock is. The message is one printable line of bounded size.
absl::Status ToStatus(const HttpAnswer& answer, HttpRequest::Method method, absl::string_view doing,
                      absl::string_view right, absl::Time now);
// The same reason as for a store that cannot be reached.
absl::Status Away(absl::string_view what);

// For an answer that is good, and is not what it should be: reason STORAGE_IO.
absl::Status Senseless(absl::string_view doing, absl::string_view what);

struct ListedObject {
  std::string key;
  int64_t size_bytes = 0;
  std::string modified;  // RFC 3339; empty if the store does not say it.
};
// A page of a listing.
struct ObjectPage {
  std::vector<ListedObject> objects;
  std::string next;  // Where it goes on; empty if this was the last.
};
absl::StatusOr<ObjectPage> ParseObjectPage(const std::string& xml);

struct ListedUpload {
  std::string key;
  std::string upload_id;
  std::string begun;  // RFC 3339; empty if the store does not say it.
};
struct UploadPage {
  std::vector<ListedUpload> uploads;
  std::string next_key;  // Where it goes on; both are empty if this was the last.
  std::string next_upload;
};
absl::StatusOr<UploadPage> ParseUploadPage(const std::string& xml);

// The id that a store gave an upload of several parts.
absl::StatusOr<std::string> ParseUploadId(const std::string& xml);

// What completes an upload of parts with these ETags, in their order from number 1 on.
std::string PartListXml(const std::vector<std::string>& etags);

}  // namespace backup::storage::s3
