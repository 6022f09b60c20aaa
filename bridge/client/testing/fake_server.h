#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace backup::legacy_client::testing {

// A request as the fake server read it, by its own reading of docs/wire-protocol.md.
struct Received {
  std::string id;
  int version = 0;
  int code = 0;
  std::string payload;
  int connection = 0;  // Counts from 1.

  // The name field of a request that begins with it, or of a file request.
  std::string Name() const;
  // Of a file request, or of a public key request: the key.
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
// `session_key` as it goes to the owner of the public key `spki`.
std::string EncryptForClient(absl::string_view spki, absl::string_view session_key);

// Plays a script on a loopback port: one step a request, over as many connections as the client
// makes, one after the other. Used by one thread at a time.
class FakeServer {
 public:
  using Step = std::function<Reply(const Received&)>;

  explicit FakeServer(std::vector<Step> script);
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;
  ~FakeServer();

  int port() const { return port_; }
  // All requests, once the script is at its end or cannot go on.
  const std::vector<Received>& Finish();

 private:
  void Play();

  const std::vector<Step> script_;
  UniqueFd listener_;
  int port_ = 0;
  std::vector<Received> received_;
  std::thread thread_;
};

}  // namespace backup::legacy_client::testing
