#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "base/unique_fd.h"

namespace backup::bridge::testing {

// Requests of family C, byte by byte as docs/wire-protocol.md has them.
std::string RegisterRequest(absl::string_view name);
std::string PublicKeyRequest(const ClientId& id, absl::string_view name);
std::string ReconnectRequest(const ClientId& id, absl::string_view name);
std::string FileRequest(const ClientId& id, absl::string_view name, absl::string_view content);
std::string ValidRequest(const ClientId& id, absl::string_view name);
std::string RetryRequest(const ClientId& id, absl::string_view name);
std::string AbortRequest(const ClientId& id, absl::string_view name);
// A name in its field of 255 bytes.
std::string NameField(absl::string_view name);
// A request with any code and payload.
std::string AnyRequest(const ClientId& id, uint16_t code, absl::string_view payload);

inline constexpr uint16_t kRegistered = 2100;
inline constexpr uint16_t kRegistrationFailed = 2101;
inline constexpr uint16_t kKeyAccepted = 2102;
inline constexpr uint16_t kFileReceived = 2103;
inline constexpr uint16_t kAcknowledged = 2104;
inline constexpr uint16_t kReconnected = 2105;
inline constexpr uint16_t kReconnectDenied = 2106;
inline constexpr uint16_t kGeneralError = 2107;

// How answers look. As it is: families A to E.
struct AnswerForm {
  size_t version_size = 1;
  bool is_big_endian = false;
  size_t multiple_of = 1;  // Of each answer's size.

  size_t header_size() const { return version_size + sizeof(uint16_t) + sizeof(uint32_t); }
};

struct RawReply {
  uint32_t version = 0;
  uint16_t code = 0;
  std::string payload;  // As much as the header says.
  // The id that most answers begin with.
  ClientId id() const {
    return ClientId::FromBytes(payload.substr(0, ClientId::kSize)).value_or(ClientId());
  }
};

// A whole answer; nothing if it is none of that form.
std::optional<RawReply> ParseAnswer(absl::string_view answer, const AnswerForm& form);

// A client that sends what it is told, right or wrong. Every wait is bounded. Used by one thread at
// a time.
class RawClient {
 public:
  // Connects to a port of loopback.
  explicit RawClient(int port) : RawClient(MakeSocket(), port) {}
  // With a socket made before.
  RawClient(UniqueFd socket, int port);
  static UniqueFd MakeSocket();

  void Send(absl::string_view bytes);
  // Nothing if the stream ends, breaks or stalls before a whole answer.
  std::optional<RawReply> Receive(const AnswerForm& form = {});
  // Nothing if the stream ends, breaks or stalls.
  std::optional<char> ReceiveByte();
  // Whether the bridge hung up, with nothing more to read.
  bool AtEnd();
  // All that comes before the bridge hangs up. Dies if it does not.
  std::string ReceiveAll();
  void ShutdownWrite();

  // Request and answer in one; an answer with code 0 if there is none.
  RawReply Ask(absl::string_view request);
  // Registers `name` and sends a key.
  ClientId Introduce(absl::string_view name);

 private:
  std::optional<std::string> ReceiveBytes(size_t size);

  UniqueFd socket_;
};

// Whether anything listens on a port of loopback.
bool CanConnect(int port);

}  // namespace backup::bridge::testing
