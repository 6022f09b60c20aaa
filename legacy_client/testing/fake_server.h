#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace backup::legacy_client::testing {

// What the fake server must know of the family that it serves.
struct FakeFamily {
  int public_key_code = 1026;
  int file_code = 1028;
  size_t id_size = 0;          // In front of payloads about a file.
  size_t file_sizes_size = 4;  // Of a file request, before the name.
  int answer_base = 2100;
  bool blocks_1024 = false;
  // If set, all that is above is left aside: how many bytes a request has with all that belongs to
  // it, from the bytes at its front; 0: more are needed.
  std::function<size_t(absl::string_view)> request_size = nullptr;
};

// A request as the fake server read it, by its own reading of docs/wire-protocol.md.
struct Received {
  std::string id;
  int version = 0;
  int code = 0;
  std::string payload = "";
  size_t name_at = 0;      // In the payload.
  int connection = 0;      // Counts from 1.
  std::string bytes = "";  // With FakeFamily::request_size: the request, and nothing else is set.

  std::string Name() const;
  // What follows the name: of a file request, or of a public key request: the key.
  std::string Content() const;
};

// What the fake server does after a request.
struct Reply {
  std::string bytes;
  bool in_single_bytes = false;
  bool hang_up = false;
};

// An answer's bytes.
std::string AnswerBytes(int code, absl::string_view payload = "");
// `session_key` as it goes to the owner of a public key, in either form.
std::string EncryptForClient(absl::string_view public_key, absl::string_view session_key,
                             bool pkcs1_v15 = false);

// Plays a script on a loopback port: one step a request, over as many connections as the client
// makes, one after the other. Used by one thread at a time.
class FakeServer {
 public:
  using Step = std::function<Reply(const Received&)>;

  explicit FakeServer(std::vector<Step> script, FakeFamily family = {});
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;
  ~FakeServer();

  int port() const { return port_; }
  // All requests, once the script is at its end or cannot go on.
  const std::vector<Received>& Finish();

 private:
  void Play();

  const std::vector<Step> script_;
  const FakeFamily family_;
  UniqueFd listener_;
  int port_ = 0;
  std::vector<Received> received_;
  std::thread thread_;
};

}  // namespace backup::legacy_client::testing
