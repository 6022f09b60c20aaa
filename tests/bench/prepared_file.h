#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "legacy_client/channel.h"
#include "legacy_client/frames.h"
#include "legacy_client/key_pair.h"
#include "tests/bench/endless_content.h"

namespace backup::bench {

// A client that the server knows.
struct KnownClient {
  ClientId id;
  std::string session_key;
};

// Registers `name`, which is new, and exchanges keys.
absl::StatusOr<KnownClient> Introduce(const legacy_client::Endpoint& server,
                                      const std::string& name,
                                      const legacy_client::KeyPair& key_pair);

// Has the service, a gRPC target, delete a client with all its files.
absl::Status Delete(const std::string& service, const KnownClient& client);

// A file as an old client sends it, whose ciphertext costs nothing to send: bytes that are there,
// since any ciphertext decrypts to something, and at the end a block that was made for the client's
// key, so that the padding is right. Its content is like no other's. Used by one thread at a time.
class PreparedFile {
 public:
  // `size` is the ciphertext's without its last block, a multiple of 1 MiB.
  PreparedFile(const KnownClient& client, std::string name, int64_t size);

  // Until the server has answered, and answered rightly: the file is durable then.
  absl::Status Upload(const legacy_client::Endpoint& server) const;
  // What goes before the content.
  const std::string& head() const { return head_; }

 private:
  const KnownClient client_;
  const std::string name_;
  const int64_t size_;
  const uint64_t content_ = EndlessContent::NewNumber();
  std::string last_block_;
  std::string head_;
  uint32_t checksum_ = 0;
};

}  // namespace backup::bench
