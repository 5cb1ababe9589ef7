"""What Celery's own schedules answer, as one JSON list per case: for tests/beat.rs."""
import json
import math
import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from celery import Celery, beat
from celery.schedules import ParseException, crontab, schedule

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICRO = timedelta(microseconds=1)
#: Clocks put forward and back by an hour, at midnight, by half an hour; south of the equator; and not at all.
ZONES = [
    'UTC', 'Europe/Vienna', 'Europe/London', 'America/New_York', 'America/Sao_Paulo', 'America/Havana', 'Asia/Kolkata',
    'Australia/Lord_Howe', 'America/St_Johns', 'Pacific/Auckland',
]
RANGES = {'minute': (60, 0), 'hour': (24, 0), 'day_of_week': (7, 0), 'day_of_month': (31, 1), 'month_of_year': (12, 1)}
MONTHS = ['jan', 'feb', 'mar', 'april', 'May', 'june', 'JUL', 'august', 'sep', 'oct', 'nov', 'december']
DAYS = ['sun', 'monday', 'tue', 'wed', 'Thursday', 'fri', 'sat']


def micros(moment):
    return (moment - EPOCH) // MICRO


def word(rng, size, least):
    number = rng.randint(least, size + least - 1)
    if size == 12 and rng.random() < 0.3:
        return MONTHS[number - 1]
    if size == 7 and rng.random() < 0.3:
        return DAYS[number]
    return str(number)


def part(rng, size, least):
    text = rng.choice([
        lambda: '*', lambda: f'*/{rng.randint(1, size)}', lambda: word(rng, size, least),
        lambda: f'{word(rng, size, least)}-{word(rng, size, least)}',
        lambda: f'{word(rng, size, least)}-{word(rng, size, least)}/{rng.randint(1, 9)}',
    ])()
    return text


def field(rng, size, least):
    if rng.random() < 0.1:
        return rng.randint(least, size + least - 1)
    if rng.random() < 0.1:
        return sorted(rng.sample(range(least, size + least), rng.randint(1, 5)))
    return ','.join(part(rng, size, least) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def garbled(rng, text):
    """With characters exchanged, left out or put in."""
    text = list(str(text))
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text) + 1)
        text[at:at + rng.randint(0, 1)] = rng.choice(['', ',', '-', '/', '*', ' ', '_', '7', '0', '99', 'x', 'mon'])
    return ''.join(text)


def grammar(rng):
    """A field by itself: `[name, text, numbers or null]`."""
    name = rng.choice(list(RANGES))
    text = field(rng, *RANGES[name])
    if isinstance(text, str) and rng.random() < 0.6:
        text = garbled(rng, text)
    try:
        numbers = sorted(crontab._expand_cronspec(text, *RANGES[name]))
    except (ValueError, ParseException):
        numbers = None
    return [name, text, numbers]


def crontab_fields(rng):
    """Few or many times, but at least one."""
    while True:
        stars = rng.random()
        fields = {name: '*' if rng.random() < stars else field(rng, *size) for name, size in RANGES.items()}
        try:
            crontab(**fields)
        except ValueError:
            continue
        return fields


def some_schedule(rng):
    """As `Schedule::from_value` reads it, and Celery's own."""
    if rng.random() < 0.6:
        fields = crontab_fields(rng)
        return fields, lambda **more: crontab(**fields, **more)
    every = rng.choice([
        timedelta(seconds=rng.randint(0, 90)), timedelta(minutes=rng.randint(1, 200)), timedelta(hours=rng.randint(1, 50)),
        timedelta(days=rng.randint(1, 40)), timedelta(seconds=rng.uniform(0, 90_000)), timedelta(seconds=-3),
    ])
    relative = rng.random() < 0.6
    return {'every': every // MICRO, 'relative': relative}, lambda **more: schedule(every, relative, **more)


def transitions(zone, year):
    """When the clock changes in a year, to the minute."""
    hours = (datetime(year, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hour) for hour in range(365 * 24))
    found, before = [], None
    for hour in hours:
        offset = hour.astimezone(zone).utcoffset()
        if before is not None and offset != before:
            found.append(hour)
        before = offset
    return found or [datetime(year, 3, 29, tzinfo=timezone.utc)]


def instants(rng, zone, cache={}):
    """When it was last run, and when that is asked."""
    year = rng.choice([2005, 2016, 2024, 2026])
    if (zone, year) not in cache:
        cache[zone, year] = transitions(zone, year)
    if rng.random() < 0.7:
        last = rng.choice(cache[zone, year]) + timedelta(minutes=rng.randint(-2000, 400))
    else:
        last = datetime(year, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=rng.randrange(365 * 1440))
    last += rng.choice([timedelta(0), timedelta(microseconds=rng.randrange(60_000_000))])
    longest = rng.choice([90, 4000, 90_000, 400_000])
    return last, last + rng.choice([timedelta(0), timedelta(seconds=rng.uniform(0, longest))])


def is_due(rng, apps={}):
    """`[zone, schedule, last, now, deadline, is due, next]`, the last two null for an error."""
    name = rng.choice(ZONES)
    zone = ZoneInfo(name)
    if name not in apps:
        apps[name] = Celery(set_as_current=False)
        apps[name].conf.update(timezone=name, broker_url='memory://')
    app = apps[name]
    last, now = instants(rng, zone)
    deadline = rng.choice([None, None, 0, 30, 3600, 86_400])
    app.conf.beat_cron_starting_deadline = deadline
    described, make = some_schedule(rng)
    celerys = make(app=app, nowfun=lambda: now.astimezone(zone))
    try:
        due, following = celerys.is_due(last.astimezone(zone))
    except Exception:
        due = following = None
    return [name, described, micros(last), micros(now), deadline, due, following]


def day(rng, name, start):
    """24 hours of 50 entries: `[zone, start, entries, what was sent when]`."""
    app = Celery(set_as_current=False)
    app.conf.update(timezone=name, broker_url='memory://', result_expires=None)
    clock = [EPOCH + start * MICRO]
    app.now = lambda: clock[0].astimezone(ZoneInfo(name))
    entries, celerys = {}, {}
    for number in range(50):
        described, make = some_schedule(rng)
        while described.get('every', 60_000_000) < 20_000_000:
            described, make = some_schedule(rng)
        entries[f'entry-{number}'] = described
        celerys[f'entry-{number}'] = {'task': 'proj.task', 'schedule': make()}
    app.conf.beat_schedule = celerys
    sent = []

    class Scheduler(beat.Scheduler):
        producer = None

        def apply_async(self, entry, producer=None, advance=True, **kwargs):
            sent.append([entry.name, micros(clock[0])])

        def schedules_equal(self, old, new):
            """Nobody changes it, and comparing takes most of the time."""
            return True

    scheduler = Scheduler(app)
    while clock[0] < EPOCH + start * MICRO + timedelta(hours=24):
        count = len(sent)
        wait = scheduler.tick()
        if len(sent) == count:
            # Time goes by where Celery waits for it without a pause: in the last hundredth of a second.
            clock[0] += max(10_000, math.ceil(wait * 1e6)) * MICRO
    return [name, start, entries, sent]


def main(kind, seed, count):
    rng = random.Random(int(seed))
    if kind == 'days':
        for zone, start in [
            ('Europe/Vienna', datetime(2026, 3, 28, 11, 59, 58, 7)), ('Europe/Vienna', datetime(2026, 10, 24, 12)),
            ('America/New_York', datetime(2026, 3, 8, 0, 0, 1)), ('Australia/Lord_Howe', datetime(2026, 4, 4, 9, 30)),
        ]:
            print(json.dumps(day(rng, zone, micros(start.replace(tzinfo=timezone.utc)))))
        return
    case = {'grammar': grammar, 'due': is_due}[kind]
    for _ in range(int(count)):
        print(json.dumps(case(rng)))


main(*sys.argv[1:])
