#pragma once

#include <sys/socket.h>

#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "bridge/testing/connection_fixture.h"
#include "bridge/upload/upload_content.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/testing/byte_writer.h"

namespace backup::bridge::testing {

// A segment as UploadFileHeader has it.
inline std::string Segment(const std::string& content) {
  return wire::ByteWriter().U32(static_cast<uint32_t>(content.size())).Bytes(content).Take();
}
inline std::string Segments(const std::vector<std::string>& contents) {
  std::string all;
  for (const std::string& content : contents) all += Segment(content);
  return all;
}

// A client that sends one file, and what is read of it.
class UploadFixture : public ConnectionFixture {
 protected:
  UploadFixture() { limits_.window = absl::Seconds(20); }

  // The content of the file request at the front of `bytes`, which are all that the client sends,
  // in random pieces.
  absl::StatusOr<std::string> ReadFile(const wire::Dialect& dialect, absl::string_view bytes,
                                       std::optional<bool> pads = std::nullopt) {
    Connect();
    std::jthread client([this, bytes] { SendInPieces(bytes); });
    auto content = ReadSent(dialect, pads);
    if (!content.ok()) connection_->Abort();  // The client must not wait to send the rest.
    return content;
  }

  // The same of what the peer sends in any other way.
  absl::StatusOr<std::string> ReadSent(const wire::Dialect& dialect, std::optional<bool> pads) {
    ASSIGN_OR_RETURN(const wire::DecodedHead head, ReadHead(dialect));
    ASSIGN_OR_RETURN(content_, OpenContent(*connection_, dialect, head, pads, limits_, budget_));
    auto content = ReadAll(*content_.body, size_t{16} << 20);
    EXPECT_EQ(content.ok(), content_.body->status().ok());
    EXPECT_TRUE(!content.ok() || content_.body->left() == 0);
    return content;
  }

  absl::StatusOr<wire::DecodedHead> ReadHead(const wire::Dialect& dialect) {
    while (true) {
      const absl::string_view bytes = connection_->buffered();
      if (dialect.DecodeHeader(bytes)) {
        ASSIGN_OR_RETURN(std::optional<wire::DecodedHead> head, dialect.DecodeHead(bytes));
        if (head) {
          connection_->Consume(head->head_size);
          return *std::move(head);
        }
      }
      RETURN_IF_ERROR(connection_->WaitForBuffered(bytes.size() + 1, limits_.window));
    }
  }

  // What came behind the file, if that is `size` bytes.
  std::string Following(size_t size) {
    EXPECT_TRUE(connection_->WaitForBuffered(size, limits_.window).ok());
    return std::string(connection_->buffered());
  }

  BodyLimits limits_;
  BodyBudget budget_;
  UploadContent content_;

 private:
  void SendInPieces(absl::string_view bytes) {
    std::uniform_int_distribution<size_t> size(1, 700);
    while (!bytes.empty()) {
      const absl::string_view piece = bytes.substr(0, size(random_));
      const ssize_t sent = ::send(peer_.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // Nobody reads on.
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    ::shutdown(peer_.get(), SHUT_WR);
  }

  std::mt19937 random_;
};

}  // namespace backup::bridge::testing
