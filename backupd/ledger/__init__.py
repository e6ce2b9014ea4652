"""The primary record: deliveries, cursors, remembered messages, notices and their outbox."""
