#include "base/start_thread.h"

#include <system_error>
#include <utility>

#include "glog/logging.h"

namespace backup {
namespace {

constexpr int kComplaintSeconds = 5;

}  // namespace

std::optional<std::thread> TryStartThread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    LOG_EVERY_T(ERROR, kComplaintSeconds) << "cannot make another thread: " << error.what();
    return std::nullopt;
  }
}

}  // namespace backup
