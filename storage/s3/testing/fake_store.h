#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "storage/s3/credentials.h"
#include "storage/s3/testing/loopback_server.h"

namespace backup::storage::s3 {

// An S3 store in memory on loopback, which keeps connections, checks signatures and digests, and
// does wrong what a test wants. Thread-safe.
class FakeStore {
 public:
  struct Request {
    std::string method;
    std::string target;                          // "/bucket/key?query", as it came.
    std::map<std::string, std::string> headers;  // Names in lower case.
    std::string body;

    std::string bucket;
    std::string key;
    std::map<std::string, std::string> query;  // Decoded.
    bool Has(const std::string& name) const { return query.contains(name); }
  };
  // What this store does not do as it should.
  struct Quirks {
    bool takes_any_secret = false;
    bool takes_any_body = false;  // Of whole objects,
    bool takes_any_part = false;  // and of parts.
    bool forgets_metadata = false;
    bool has_conditions = true;
    bool repeats_pages = false;  // Each page of a listing is the first.
    size_t page_size = 1000;
    // Answers instead of the store, unless it is empty; or the connection ends without one.
    std::function<std::optional<std::string>(const Request&)> before = nullptr;
    // Connections end after so many answers, once another request came.
    int answers_a_connection = 1'000'000'000;
  };

  explicit FakeStore(Credentials credentials);
  FakeStore(const FakeStore&) = delete;
  FakeStore& operator=(const FakeStore&) = delete;

  int port() const { return server_.port(); }
  std::string endpoint() const { return server_.endpoint(); }
  void set_quirks(Quirks quirks);
  // As they came: "PUT /bucket/key?query".
  std::vector<std::string> requests() const;
  // What somebody else does.
  void MakeBucket(const std::string& bucket);
  void PutObject(const std::string& bucket, const std::string& key, const std::string& bytes);
  // Deletes all objects.
  void Empty();
  std::vector<std::string> keys() const;
  size_t uploads() const;

 private:
  struct Object {
    std::shared_ptr<const std::string> body;
    std::string etag;
    std::string maker;
  };
  struct Upload {
    std::string key;
    std::string maker;
    std::map<int, Object> parts;
  };
  struct Answer {
    int status = 200;
    std::string headers = {};  // Of lines.
    std::string body = {};
    std::shared_ptr<const std::string> content =
        nullptr;  // Instead, from `begin` on so many bytes.
    size_t begin = 0;
    size_t size = 0;
  };

  void Serve(int fd);
  std::optional<Request> Read(int fd, std::string& rest) const;
  bool Write(int fd, const Request& request, const Answer& answer) const;
  bool IsSigned(const Request& request) const;
  Answer Do(const Request& request);
  Answer DoBucket(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer DoObject(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer DoUpload(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer List(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer ListUploads(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer Get(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Answer Complete(const Request& request, const std::string& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsInTheWay(const Request& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Credentials credentials_;
  mutable Mutex mutex_;
  Quirks quirks_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> requests_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> buckets_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Object> objects_ ABSL_GUARDED_BY(mutex_);  // By "bucket/key", as uploads'.
  std::map<std::string, Upload> uploads_ ABSL_GUARDED_BY(mutex_);
  int last_upload_ ABSL_GUARDED_BY(mutex_) = 0;
  LoopbackServer server_;  // Last: ended first.
};

}  // namespace backup::storage::s3
